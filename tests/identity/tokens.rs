//! Tokens and what their claims allow; a project's own policy, which binds everyone.

use serde_json::json;
use tollgate::gate::identity::NewToken;

use crate::site::{EVENT, OTHER, Site, USUAL, WEB, accepted, claims, refused, with};

const WECHAT: &str = "https://servicewechat.com";

#[test]
fn claims_bound_what_a_token_may_do() {
    let site = Site::changed(&[]);
    let action = |name: &str| {
        site.minted(NewToken {
            extra: claims(&[("action", json!([name]))]),
            ..NewToken::default()
        })
    };
    let get = |token: &str| site.get(&format!("/logstores/web/track?k=v&token={token}"));
    let put = |token: &str| {
        let head = format!(
            "POST /logstores/web HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nAuthorization: Bearer {token}\r\nContent-Length: {}\r\n\r\n",
            EVENT.len()
        );
        site.send(&head, EVENT.as_bytes())
    };
    let post = action("log:PutWebTracking");
    accepted(&site.bearer(&post));
    refused(&get(&post), "token_scope");
    refused(&put(&post), "token_scope");
    let web = action("log:WebTracking");
    accepted(&get(&web));
    refused(&site.bearer(&web), "token_scope");
    for name in ["log:PostLogStoreLogs", "log:PutLogs"] {
        accepted(&put(&action(name)));
    }
    accepted(&put(&site.token()));
    let header = format!("Authorization: Bearer {}\r\n", site.token());
    refused(&site.track(OTHER, &header, EVENT), "token_scope");
    site.events(WEB, 5);
}

#[test]
fn a_token_of_another_mini_program_is_refused() {
    let site = Site::changed(&[]);
    let token = site.minted(NewToken {
        extra: claims(&[
            ("platform", json!("wechat")),
            ("appid", json!("wx0123456789abcdef")),
        ]),
        ..NewToken::default()
    });
    let send = |referer: &str| {
        let extra = format!("Authorization: Bearer {token}\r\nReferer: {referer}\r\n");
        site.track(WEB, &extra, EVENT)
    };
    accepted(&send(&format!(
        "{WECHAT}/wx0123456789abcdef/12/page-frame.html"
    )));
    accepted(&site.bearer(&token));
    let other = format!("{WECHAT}/wxffffffffffffffff/12/page-frame.html");
    refused(&send(&other), "platform_mismatch");
    refused(
        &send("https://tmaservice.developer.toutiao.com/?appid=tt0123&version=1"),
        "platform_mismatch",
    );
    site.events(WEB, 2);
}

#[test]
fn a_deny_of_the_projects_policy_binds_everyone() {
    let project = "name = \"sls-webtracking-mini\"\n";
    let with_policy = |network: &str| {
        let policy = format!(
            r#"
[[identity.policy]]
name = "office"
document = '''
{{"Version":"1","Statement":[{{"Effect":"Deny","Principal":["*"],"Action":["log:WebTracking","log:PutWebTracking","log:PostLogStoreLogs"],
  "Resource":"*","Condition":{{"NotIpAddress":{{"acs:SourceIp":["{network}"]}}}}}}]}}
'''
"#
        );
        let open = "name = \"other\"\naccept = [\"anonymous\"]";
        let named = format!("{project}policy = \"office\"\n");
        let text = with(USUAL, &[(project, &*named), ("name = \"other\"", open)]);
        format!("{policy}{text}")
    };
    let site = Site::start(&with_policy("192.0.2.0/24"));
    let put = || crate::signing::Call::put(&crate::site::server_1(), WEB).send(site.front());
    refused(&site.track(OTHER, "", EVENT), "policy_denied");
    refused(&site.get("/logstores/other/track?k=v"), "policy_denied");
    refused(&site.bearer(&site.token()), "policy_denied");
    refused(&put(), "policy_denied");
    for kind in ["anonymous", "jwt", "access_key"] {
        assert!(site.refused(kind, "policy_denied") > 0, "{kind}");
    }
    site.reload(&with_policy("127.0.0.0/8"));
    accepted(&site.track(OTHER, "", EVENT));
    accepted(&site.bearer(&site.token()));
    accepted(&put());
    site.events(OTHER, 1);
    site.events(WEB, 2);
}
