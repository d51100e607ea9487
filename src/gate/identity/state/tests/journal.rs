//! The file: torn, damaged, full, locked, written anew.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use super::*;

fn file(folder: &Path) -> PathBuf {
    folder.join("identity/journal")
}

/// A state with the revocations `a`, `b`, `c` and a ticket of which two of three uses are taken;
/// dropped without anything like closing.
fn some(folder: &Path) -> (TicketId, String) {
    let state = open(folder);
    let made = create(&state, |new| new.max_uses = Some(3));
    for value in ["a", "b", "c"] {
        revoke(&state, RevocationKind::Subject, value);
    }
    take(&state, &made.1).unwrap();
    take(&state, &made.1).unwrap();
    made
}

fn revoked(state: &IdentityState) -> String {
    let page = state.revocation_page(None, None, 1000).unwrap();
    let values = page.revocations.iter().map(|one| one.value.to_string());
    values.collect()
}

#[test]
fn everything_is_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let (id, token) = some(folder.path());
    let state = open(folder.path());
    assert_eq!(state.damaged_lines(), 0);
    assert_eq!(revoked(&state), "abc");
    assert_eq!(state.tickets().record(id, now()).unwrap().uses, 2);
    assert_eq!(take(&state, &token), Ok(()));
    assert_eq!(take(&state, &token), Err(Reason::TicketUsedUp));
    state
        .revocations()
        .lift(RevocationKind::Subject, "b")
        .unwrap();
    drop(state);
    assert_eq!(revoked(&open(folder.path())), "ac");
}

#[test]
fn only_its_owner_may_read_it() {
    let folder = tempfile::tempdir().unwrap();
    some(folder.path());
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder.path().join("identity")), 0o700);
    assert_eq!(mode(&file(folder.path())), 0o600);
    let text = fs::read_to_string(file(folder.path())).unwrap();
    assert!(!text.contains("eyJ"), "no token is kept: {text}");
}

#[test]
fn a_torn_end_costs_only_what_was_torn() {
    let folder = tempfile::tempdir().unwrap();
    some(folder.path());
    let whole = fs::read(file(folder.path())).unwrap();
    let starts: Vec<_> = whole
        .iter()
        .enumerate()
        .filter(|(_, byte)| **byte == b'\n')
        .map(|(at, _)| at + 1)
        .collect();
    for cut in 0..whole.len() {
        let lines = starts.iter().filter(|start| **start <= cut).count();
        // A line without its line break is whole all the same.
        let lines = lines + usize::from(starts.contains(&(cut + 1)));
        fs::write(file(folder.path()), &whole[..cut]).unwrap();
        let state = open(folder.path());
        let expected = ["", "", "", "a", "ab", "abc", "abc", "abc"][lines];
        assert_eq!(revoked(&state), expected, "cut at {cut}");
        let uses = state.tickets().list(None, 1, now()).0;
        let uses = uses.first().map(|ticket| ticket.uses);
        let expected = [
            None,
            None,
            Some(0),
            Some(0),
            Some(0),
            Some(0),
            Some(1),
            Some(2),
        ];
        assert_eq!(uses, expected[lines], "cut at {cut}");
        // What is said next is not lost in the torn line.
        revoke(&state, RevocationKind::Subject, "z");
        drop(state);
        assert!(is_revoked(
            &open(folder.path()),
            RevocationKind::Subject,
            "z"
        ));
    }
}

#[test]
fn a_flipped_byte_costs_one_line_and_a_copy_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    some(folder.path());
    let whole = fs::read(file(folder.path())).unwrap();
    let text = String::from_utf8(whole.clone()).unwrap();
    let at = text.find(r#""value":"b""#).unwrap() + 9;
    for flip in [1u8, 0x80] {
        let mut damaged = whole.clone();
        damaged[at] ^= flip;
        fs::write(file(folder.path()), &damaged).unwrap();
        let state = open(folder.path());
        assert_eq!(state.damaged_lines(), 1);
        assert_eq!(revoked(&state), "ac", "later lines are still read");
        let copy = folder.path().join("identity/journal.damaged");
        assert_eq!(fs::read(copy).unwrap(), damaged);
        drop(state);
        assert_eq!(open(folder.path()).damaged_lines(), 0, "written anew");
    }
}

#[test]
fn every_flipped_bit_is_found() {
    let folder = tempfile::tempdir().unwrap();
    some(folder.path());
    let whole = fs::read(file(folder.path())).unwrap();
    let first_line = whole.iter().position(|byte| *byte == b'\n').unwrap();
    for at in (first_line + 1..whole.len()).step_by(7) {
        let mut damaged = whole.clone();
        damaged[at] ^= 1 << (at % 8);
        fs::write(file(folder.path()), &damaged).unwrap();
        let state = open(folder.path());
        assert!((1..=2).contains(&state.damaged_lines()), "byte {at}");
        let seen = revoked(&state);
        assert!("abc".len() - seen.len() <= 2, "byte {at}: {seen}");
        assert!(seen.chars().all(|c| "abc".contains(c)), "byte {at}: {seen}");
    }
}

#[test]
fn rubbish_is_skipped_however_long_it_is() {
    let folder = tempfile::tempdir().unwrap();
    some(folder.path());
    let mut whole = vec![b'x'; 100_000];
    whole.push(b'\n');
    whole.extend_from_slice(b"\n\n \n0123456789abcdef {}\n\xff\xfe\0\n");
    whole.extend(fs::read(file(folder.path())).unwrap());
    whole.extend(vec![0; 70_000]);
    fs::write(file(folder.path()), whole).unwrap();
    let state = open(folder.path());
    assert_eq!(revoked(&state), "abc");
    assert_eq!(state.damaged_lines(), 5);
}

#[test]
fn what_a_newer_version_wrote_is_not_opened() {
    use sha2::{Digest as _, Sha256};
    for json in [
        r#"{"format":2}"#,
        r#"{"revoke_all":{}}"#,
        r#"{"revoke":{"kind":"planet","value":"x","reason":"","created":1,"by":"me"}}"#,
        r#"{"lift":{"kind":"jti","value":"x","more":1}}"#,
    ] {
        let folder = tempfile::tempdir().unwrap();
        some(folder.path());
        let sum: String = Sha256::digest(json)
            .iter()
            .take(8)
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let mut journal = fs::OpenOptions::new()
            .append(true)
            .open(file(folder.path()))
            .unwrap();
        writeln!(journal, "{sum} {json}").unwrap();
        let opened = IdentityState::open(folder.path(), &identity(), &Metrics::new());
        assert!(matches!(opened, Err(OpenError::Format { .. })), "{json}");
    }
}

#[test]
fn two_cannot_have_it_open() {
    let folder = tempfile::tempdir().unwrap();
    let first = open(folder.path());
    let second = IdentityState::open(folder.path(), &identity(), &Metrics::new());
    match second {
        Err(error @ OpenError::Locked { .. }) => {
            assert!(error.to_string().contains("--admin-url"), "{error}");
        }
        other => panic!("{other:?}"),
    }
    drop(first);
    open(folder.path());
}

#[test]
fn on_a_full_disk_changes_are_refused_and_what_is_in_force_stays() {
    let folder = tempfile::tempdir().unwrap();
    let (id, token) = some(folder.path());
    let state = open(folder.path());
    let full = || {
        let device = fs::OpenOptions::new().write(true).open("/dev/full");
        state.journal.replace_file(device.unwrap());
    };
    full();
    let write = |error: &ChangeError| matches!(error, ChangeError::Write { .. });
    let error = try_revoke(&state, RevocationKind::Subject, "z").unwrap_err();
    assert!(write(&error), "{error}");
    assert!(error.to_string().contains("nothing has changed"), "{error}");
    assert!(!is_revoked(&state, RevocationKind::Subject, "z"));
    let lifted = state.revocations().lift(RevocationKind::Subject, "a");
    assert!(write(&lifted.unwrap_err()));
    assert!(is_revoked(&state, RevocationKind::Subject, "a"));
    let made = state.create_ticket(new_ticket(|_| {}));
    assert!(write(&made.unwrap_err()));
    assert_eq!(state.tickets().len(), 1);
    let extended = state.tickets().extend(id, now() + 7200, now());
    assert!(write(&extended.unwrap_err()));
    assert_eq!(take(&state, &token), Err(Reason::Internal));
    // There is room again.
    let journal = fs::OpenOptions::new()
        .append(true)
        .open(file(folder.path()));
    state.journal.replace_file(journal.unwrap());
    revoke(&state, RevocationKind::Subject, "z");
    assert_eq!(take(&state, &token), Ok(()));
    drop(state);
    let state = open(folder.path());
    assert_eq!(
        (state.damaged_lines(), revoked(&state)),
        (0, "abcz".to_owned())
    );
}

#[test]
fn a_part_of_a_line_that_cannot_be_cut_off_spoils_no_other() {
    let folder = tempfile::tempdir().unwrap();
    some(folder.path());
    let state = open(folder.path());
    let append = || {
        let file = fs::OpenOptions::new()
            .append(true)
            .open(file(folder.path()));
        file.unwrap()
    };
    let full = || {
        let device = fs::OpenOptions::new().write(true).open("/dev/full");
        state.journal.replace_file(device.unwrap());
        assert!(try_revoke(&state, RevocationKind::Subject, "z").is_err());
        append().write_all(b"0123456789abcdef {\"rev").unwrap();
        state.journal.replace_file(append());
    };
    full();
    revoke(&state, RevocationKind::Subject, "x");
    full();
    revoke(&state, RevocationKind::Subject, "y");
    // Now writing fails, and cutting does not: the file is open for reading only.
    let closed = fs::File::open(file(folder.path())).unwrap();
    state.journal.replace_file(closed);
    assert!(try_revoke(&state, RevocationKind::Subject, "z").is_err());
    drop(state);
    assert_eq!(revoked(&open(folder.path())), "abcxy");
}

#[test]
fn after_a_failed_sync_nothing_is_changed_until_the_file_is_written_anew() {
    let folder = tempfile::tempdir().unwrap();
    some(folder.path());
    let state = open(folder.path());
    // A pipe takes bytes and cannot be synced.
    let (_reader, writer) = std::io::pipe().unwrap();
    let writer: std::os::fd::OwnedFd = writer.into();
    state.journal.replace_file(fs::File::from(writer));
    for value in ["z", "y"] {
        assert!(try_revoke(&state, RevocationKind::Subject, value).is_err());
        assert!(!is_revoked(&state, RevocationKind::Subject, value));
    }
    state.round(now(), false);
    revoke(&state, RevocationKind::Subject, "x");
    drop(state);
    assert_eq!(revoked(&open(folder.path())), "abcx");
}

#[test]
fn it_is_written_anew_when_most_of_it_is_of_no_use() {
    let folder = tempfile::tempdir().unwrap();
    let (id, _) = some(folder.path());
    let state = open(folder.path());
    let (unlimited, token) = create(&state, |_| {});
    for _ in 0..1200 {
        take(&state, &token).unwrap();
        state.tickets().write_uses().unwrap();
    }
    let before = state.journal.fill().0;
    assert!(before > 1200);
    state.round(now(), false);
    assert_eq!(state.journal.fill().0, 6, "the format and what is live");
    assert!(!folder.path().join("identity/journal.new").exists());
    assert!(!folder.path().join("identity/journal.damaged").exists());
    take(&state, &token).unwrap();
    state.tickets().write_uses().unwrap();
    drop(state);
    let state = open(folder.path());
    assert_eq!(revoked(&state), "abc");
    assert_eq!(state.tickets().record(id, now()).unwrap().uses, 2);
    let uses = state.tickets().record(unlimited, now()).unwrap().uses;
    assert_eq!(uses, 1201);
}

#[test]
fn uses_that_are_taken_while_it_is_written_anew_are_not_lost() {
    let folder = tempfile::tempdir().unwrap();
    let state = open(folder.path());
    let (id, token) = create(&state, |new| new.max_uses = Some(1 << 40));
    for value in 0..300 {
        revoke(&state, RevocationKind::Jti, &value.to_string());
    }
    let taken = std::thread::scope(|scope| {
        let taker = scope.spawn(|| {
            for _ in 0..20_000 {
                take(&state, &token).unwrap();
            }
            20_000
        });
        while !taker.is_finished() {
            state.round(now(), true);
        }
        taker.join().unwrap()
    });
    drop(state);
    let state = open(folder.path());
    assert_eq!(state.damaged_lines(), 0);
    assert_eq!(state.tickets().record(id, now()).unwrap().uses, taken);
    assert_eq!(state.revocations().len(), 300);
}

#[test]
fn a_draft_that_was_never_finished_is_of_no_account() {
    let folder = tempfile::tempdir().unwrap();
    some(folder.path());
    fs::write(folder.path().join("identity/journal.new"), "half a li").unwrap();
    let state = open(folder.path());
    assert_eq!(revoked(&state), "abc");
    state.round(now(), true);
    drop(state);
    assert_eq!(revoked(&open(folder.path())), "abc");
}
