//! The text of the configuration.

use std::path::Path;

use super::plan::{Clients, Front, Plan, Shared, Sls};
use crate::config::region_of;

/// A configuration, and the secrets that it names.
#[derive(Debug, Default)]
pub(super) struct Rendered {
    pub(super) text: String,
    /// Names of the keys to be made: `{folder}/keys/{name}.key`.
    pub(super) keys: Vec<String>,
    /// Their files.
    pub(super) key_files: Vec<String>,
    /// Environment variables that hold them instead.
    pub(super) variables: Vec<String>,
}

/// The account of roles. It is part of a name and stands for nothing else.
const ROLE: &str = "acs:ram::1234567890123456:role/web-tracking";

/// Writes the configuration of a plan; keys are made in `folder`.
pub(super) fn render(plan: &Plan, folder: &Path) -> Rendered {
    let mut out = Rendered::default();
    out.text.push_str(
        "# Tollgate: the edge in front of web tracking. Made by `tollgate init`.\n\
         # Every key, with its default: docs/config.md. Mistakes: tollgate check --config FILE\n\n",
    );
    if let Some(data_dir) = &plan.data_dir {
        out.comment("Folder of generated keys, of the spool, and of the embedded logstore.");
        out.set("data_dir", &text(&data_dir.display().to_string()));
        out.text.push('\n');
    }
    out.ingest(plan);
    out.identity(plan, folder);
    out.limits(plan);
    if let Some(shared) = &plan.shared {
        out.redis(shared);
    }
    match &plan.sls {
        Some(sls) => out.sls(sls),
        None => out.embedded(),
    }
    out.project(plan);
    out
}

/// A TOML string.
fn text(value: &str) -> String {
    toml::Value::String(value.to_owned()).to_string()
}

/// A path that is good wherever the service is started, as a TOML string.
fn whole(path: &Path) -> String {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    text(&path.display().to_string())
}

fn list<T: ToString>(values: &[T]) -> String {
    let values: Vec<String> = values.iter().map(|it| text(&it.to_string())).collect();
    format!("[{}]", values.join(", "))
}

impl Rendered {
    fn comment(&mut self, comment: &str) {
        for line in comment.lines() {
            self.text.push_str("# ");
            self.text.push_str(line);
            self.text.push('\n');
        }
    }

    fn head(&mut self, head: &str) {
        self.text.push_str(head);
        self.text.push('\n');
    }

    fn set(&mut self, key: &str, value: &str) {
        self.text.push_str(&format!("{key} = {value}\n"));
    }

    /// Where a key is: its file, or an environment variable.
    fn secret(&mut self, plan: &Plan, folder: &Path, name: &str) -> String {
        let file = folder.join("keys").join(format!("{name}.key"));
        let file = file.display().to_string();
        let variable = format!("TOLLGATE_{}_KEY", name.to_uppercase().replace('-', "_"));
        let reference = match plan.make_keys {
            true => format!("file:{file}"),
            false => format!("env:{variable}"),
        };
        self.keys.push(name.to_owned());
        self.key_files.push(file);
        self.variables.push(variable);
        text(&reference)
    }

    fn ingest(&mut self, plan: &Plan) {
        self.comment("The public listener, where clients send events.");
        self.head("[ingest]");
        self.set("listen", &text(&plan.listen().to_string()));
        self.comment("The project of requests whose Host names none.");
        self.set("default_project", &text(&plan.project));
        if plan.domains.is_empty() {
            self.comment(
                "Clients that call {project}.edge.example.com:\ndomains = [\"edge.example.com\"]",
            );
        } else {
            self.comment("Clients call {project}. and one of these.");
            self.set("domains", &list(&plan.domains));
        }
        self.text.push('\n');
        match &plan.front {
            Front::Plain => {}
            Front::LoadBalancer(networks) => {
                self.comment("The load balancer is believed when it names the client, by the last entries of this\nheader. Try it out: tollgate explain-ip");
                self.head("[ingest.trusted_proxies]");
                self.set("networks", &list(networks));
                self.set("header", &text("x-forwarded-for"));
                self.text.push('\n');
            }
            Front::Tls { cert, key } => {
                self.comment("TLS ends here. The files are read again when they change.");
                self.head("[[ingest.tls.certificate]]");
                self.set("cert", &whole(cert));
                self.set("key", &whole(key));
                self.text.push('\n');
            }
        }
        self.comment("Health, metrics and the admin API. Keep it off the public network.");
        self.head("[admin]");
        self.set("listen", &text("127.0.0.1:8081"));
        self.text.push('\n');
    }

    fn identity(&mut self, plan: &Plan, folder: &Path) {
        if plan.clients == Clients::Open {
            return;
        }
        let several = plan.shared.is_some();
        self.comment("Tokens that your backend makes: a JWT with iss and aud as here, exp, and the claims project\nand logstore. To try it: tollgate token mint");
        self.head("[[identity.jwt]]");
        self.set("kid", &text("backend"));
        self.set("issuer", &text(&plan.project));
        self.set("audience", &text("tollgate"));
        if plan.make_keys || several {
            let secret = self.secret(plan, folder, "backend");
            self.comment("The HMAC secret, which your backend has too. The same on every node.");
            self.set("secret", &secret);
        } else {
            self.comment("The HMAC secret is made on first start, in {data_dir}/keys/backend.key. Or name one:\nsecret = \"env:TOLLGATE_BACKEND_KEY\"");
        }
        self.text.push('\n');
        if several {
            let secret = self.secret(plan, folder, "ticket");
            self.comment("The same on every node, so that each takes what another gave.");
            self.head("[identity.ticket]");
            self.set("keys", &format!("[{secret}]"));
            self.text.push('\n');
        }
        if plan.clients == Clients::MiniProgram {
            self.mini_program(plan, folder);
        }
    }

    fn mini_program(&mut self, plan: &Plan, folder: &Path) {
        if plan.shared.is_some() {
            let secret = self.secret(plan, folder, "sts");
            self.head("[identity.sts]");
            self.set("keys", &format!("[{secret}]"));
            self.text.push('\n');
        }
        let secret = self.secret(plan, folder, "app-server");
        self.comment("The key of your app server, by which it asks for temporary credentials (AssumeRole). It may\ndo nothing else.");
        self.head("[[identity.access_key]]");
        self.set("id", &text("app-server"));
        self.set("secret", &secret);
        self.text.push('\n');
        self.comment("What a mini program may do: write to one logstore.");
        self.head("[[identity.policy]]");
        self.set("name", &text("write-web-tracking"));
        let resource = format!(
            "acs:log:*:*:project/{}/logstore/{}",
            plan.project, plan.logstore
        );
        self.text.push_str(&format!(
            "document = '''\n{{\n  \"Version\": \"1\",\n  \"Statement\": [\n    {{\n      \"Effect\": \"Allow\",\n      \"Action\": [\"log:PostLogStoreLogs\"],\n      \"Resource\": [\"{resource}\"]\n    }}\n  ]\n}}\n'''\n\n"
        ));
        self.head("[[identity.role]]");
        self.set("arn", &text(ROLE));
        self.set("policies", &list(&["write-web-tracking"]));
        self.set("assumed_by", &list(&["app-server"]));
        self.text.push('\n');
    }

    fn limits(&mut self, plan: &Plan) {
        let (count, burst) = match plan.clients {
            Clients::Open => (20, 60),
            Clients::Web | Clients::MiniProgram => (100, 300),
        };
        self.comment("No address sends more requests than this; `mode = \"observe\"` only counts. docs/quotas.md\nhas limits on events, bytes, users and budgets.");
        self.head("[[limit]]");
        self.set("name", &text("per-address"));
        self.set("key", &list(&["address"]));
        self.set(
            "rate",
            &format!("[{{ count = {count}, per = \"1s\", burst = {burst} }}]"),
        );
        if plan.shared.is_some() {
            self.comment("Counted by all nodes together.");
            self.set("shared", "true");
        }
        self.text.push('\n');
    }

    fn redis(&mut self, shared: &Shared) {
        self.comment(
            "Limits, revocations and bans are shared by all nodes. No request waits for it.",
        );
        self.head("[quota.redis]");
        self.set("urls", &list(&shared.urls));
        if let Some(password) = &shared.password {
            self.set("password", &text(password));
        }
        self.set("nodes", &shared.nodes.to_string());
        self.text.push('\n');
    }

    fn embedded(&mut self) {
        self.comment("Where events go: the embedded logstore, on local disk. Read it: tollgate tail --config FILE");
        self.head("[[upstream]]");
        self.set("name", &text("store"));
        self.set("kind", &text("embedded"));
        self.text.push('\n');
    }

    fn sls(&mut self, sls: &Sls) {
        self.comment("Where events go. The key needs log:PostLogStoreLogs on the logstores and nothing else.");
        self.head("[[upstream]]");
        self.set("name", &text("store"));
        self.set("kind", &text("sls"));
        self.set("endpoint", &text(&sls.endpoint));
        match &sls.region {
            Some(region) => self.set("region", &text(region)),
            // A name of the service's own holds it.
            None if region_of(&sls.endpoint).is_none() => {
                self.set("region", &text("cn-hangzhou"));
            }
            None => {}
        }
        self.set("access_key_id", &text(&sls.key_id));
        self.set("access_key_secret", &text(&sls.key_secret));
        self.text.push('\n');
    }

    fn project(&mut self, plan: &Plan) {
        self.comment("What clients may name. Anything else is refused.");
        self.head("[[project]]");
        self.set("name", &text(&plan.project));
        self.set("upstream", &text("store"));
        self.text.push('\n');
        self.head("[[project.logstore]]");
        self.set("name", &text(&plan.logstore));
        match plan.clients {
            Clients::Open => {
                self.comment("Anyone who reaches the listener may write here.");
                self.set("accept", &list(&["anonymous"]));
            }
            Clients::Web => self.set("accept", &list(&["jwt"])),
            Clients::MiniProgram => {
                self.comment("The SDK signs with temporary credentials; or it puts a token into __tags__.__token__.");
                self.set("accept", &list(&["sts", "jwt"]));
            }
        }
        let named = plan.origins.iter().any(|origin| origin != "*");
        if named {
            self.comment(
                "Pages of these origins may write. Requests without an Origin are not concerned.",
            );
            self.set("allow_origins", &list(&plan.origins));
        } else {
            self.comment("Pages that may write; left out: of every origin.\nallow_origins = [\"https://shop.example.com\"]");
        }
        self.comment("When a client is told that its events were taken: once they are in memory, on \"disk\", or in\nthe \"logstore\".");
        self.set("ack", &text("memory"));
    }
}
