//! Configurations.

use tollgate::config::{Config, Problems};

/// Panics unless a text loads for good, or its problems can be shown.
pub fn config(data: &[u8]) -> bool {
    let text = String::from_utf8_lossy(data);
    match Config::parse(&text, "any.toml") {
        Ok(config) => {
            let written = toml::to_string(&config).expect("a configuration can be written");
            let again = Config::parse(&written, "written.toml");
            assert_eq!(again.as_ref(), Ok(&config), "{written}");
            true
        }
        Err(problems) => {
            can_be_shown(&problems, &text);
            false
        }
    }
}

fn can_be_shown(problems: &Problems, text: &str) {
    assert!(problems.has_errors());
    let lines = text.split('\n').count();
    for problem in problems.iter() {
        assert!(!problem.message.is_empty());
        if let Some(place) = &problem.place {
            assert!((1..=lines).contains(&place.line), "{place:?}");
            assert!(place.column >= 1, "{place:?}");
        }
    }
    let compact = problems.render_compact();
    let plain = problems.render(false);
    for shown in [&compact, &plain, &problems.to_string()] {
        assert!(shown.contains("any.toml"), "{shown}");
        assert!(!shown.contains('\u{1b}'), "{shown:?}");
    }
    assert!(problems.render(true).contains('\u{1b}'));
    assert_eq!(
        compact.lines().count(),
        problems.iter().count(),
        "{compact:?}"
    );
}
