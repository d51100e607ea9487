//! The steps of tokens; what they compute is tested in `jwt`.

use super::{apply, assert_fields, compile, events, group, key_file, run};

#[test]
fn a_token_is_made_of_a_field_and_read_again() {
    let (_file, key) = key_file(b"secret");
    let text = format!(
        "[[t]]\ntype = \"jwt_encoding\"\npayload = \"data\"\ntarget = \"token\"\nkey = \"{key}\"\n\
         [[t]]\ntype = \"jwt_decoding\"\nfield = \"token\"\ntarget = \"again\"\nkey = \"{key}\"\nalgorithms = [\"HS256\"]"
    );
    let data = r#"{"some":"payload"}"#;
    let token = "eyJ0eXAiOiJKV1QiLCJhbGciOiJIUzI1NiJ9.eyJzb21lIjoicGF5bG9hZCJ9.Joh1R2dYzkRvDkqv3sygm5YyK8Gi4ShZqbhK2gxcs2U";
    assert_fields(
        &run(&text, &[("data", data)]),
        &[("data", data), ("token", token), ("again", data)],
    );
}

/// What a client wrote to the target would pass for a payload that was verified.
#[test]
fn a_token_that_is_not_taken_leaves_no_payload() {
    let (_file, key) = key_file(b"secret");
    let step = |on_error: &str| {
        compile(&format!(
            "[[t]]\ntype = \"jwt_decoding\"\nfield = \"token\"\ntarget = \"claims\"\nkey = \"{key}\"\n\
             algorithms = [\"HS256\"]\non_error = \"{on_error}\""
        ))
        .unwrap()
    };
    let forged = &[("token", "a.b.c"), ("claims", "forged"), ("x", "1")][..];
    let mut all = group(&[forged, &[("claims", "forged"), ("x", "1")]]);
    let keep = step("keep");
    assert_eq!(apply(&keep, &mut all).errors, 1);
    assert_fields(&events(&all)[0], &[("token", "a.b.c"), ("x", "1")]);
    assert_fields(&events(&all)[1], &[("x", "1")]);
    let mut all = group(&[forged]);
    apply(&step("drop_field"), &mut all);
    assert_fields(&events(&all)[0], &[("x", "1")]);
    let mut all = group(&[forged]);
    let outcome = apply(&step("quarantine"), &mut all);
    assert_eq!(
        (all.events, outcome.quarantined[0].fault.label()),
        (0, "malformed")
    );
}

#[test]
fn a_key_that_does_not_fit_is_told_at_load() {
    let (_file, key) = key_file(b"secret");
    let text = format!(
        "[[t]]\ntype = \"jwt_encoding\"\npayload = \"a\"\ntarget = \"b\"\nkey = \"{key}\"\nalgorithm = \"RS256\""
    );
    let problems = compile(&text).unwrap_err();
    assert!(problems[0].message.contains("not PEM"), "{problems:?}");
}
