//! Against `ssh-keygen`, where it is installed.

use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::*;

/// A folder with keys of three types, made by `ssh-keygen`.
struct Keys {
    folder: tempfile::TempDir,
}

fn ssh_keygen(arguments: &[&str]) -> Option<Output> {
    Command::new("ssh-keygen").args(arguments).output().ok()
}

impl Keys {
    fn new() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        for (kind, bits) in [("ed25519", "256"), ("ecdsa", "256"), ("rsa", "2048"), ("other", "256")] {
            let path = folder.path().join(kind);
            let kind = if kind == "other" { "ed25519" } else { kind };
            let arguments = ["-q", "-t", kind, "-b", bits, "-N", "", "-C", "no comment", "-f", path.to_str().unwrap()];
            let Some(output) = ssh_keygen(&arguments) else {
                eprintln!("skipped: ssh-keygen is not installed");
                return None;
            };
            assert!(output.status.success(), "{output:?}");
        }
        Some(Keys { folder })
    }

    /// `type base64`, as a line of known hosts ends.
    fn text(&self, kind: &str) -> String {
        let text = fs::read_to_string(self.folder.path().join(kind).with_extension("pub")).unwrap();
        text.split(' ').take(2).collect::<Vec<_>>().join(" ")
    }

    fn blob(&self, kind: &str) -> Vec<u8> {
        STANDARD.decode(self.text(kind).split_once(' ').unwrap().1).unwrap()
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("known_hosts")
    }

    fn known(&self, text: &str) -> KnownHosts {
        fs::write(self.path(), text).unwrap();
        KnownHosts::read(&[self.path()]).unwrap()
    }
}

#[test]
fn fingerprints_are_those_of_ssh_keygen() {
    let Some(keys) = Keys::new() else { return };
    for kind in ["ed25519", "ecdsa", "rsa"] {
        let public = keys.folder.path().join(kind).with_extension("pub");
        let output = ssh_keygen(&["-l", "-f", public.to_str().unwrap()]).unwrap();
        let shown = String::from_utf8(output.stdout).unwrap();
        assert_eq!(shown.split(' ').nth(1), Some(fingerprint(&keys.blob(kind)).as_str()), "{shown}");
    }
    assert!(described(&keys.blob("rsa")).starts_with("ssh-rsa SHA256:"));
}

#[test]
fn names_match_as_ssh_keygen_finds_them() {
    let Some(keys) = Keys::new() else { return };
    let key = keys.text("ed25519");
    for patterns in [
        "host",
        "HOST",
        "*",
        "h?st",
        "*,!host",
        "!host,*",
        "other,host",
        "[host]:2222",
        "[*]:2222",
        "[host]:*",
        "[host]:22",
        "10.0.0.?",
        "*.example.org,!b.example.org",
    ] {
        let known = keys.known(&format!("{patterns} {key} comment # more\n"));
        for name in ["host", "Host", "hosts", "[host]:2222", "[host]:22", "10.0.0.1", "a.example.org", "b.example.org"]
        {
            let output = ssh_keygen(&["-F", name, "-f", keys.path().to_str().unwrap()]).unwrap();
            let found = known.entries(None, &name.to_ascii_lowercase()).count() == 1;
            assert_eq!(found, output.status.success(), "{patterns} {name}");
        }
    }
}

#[test]
fn hashed_names_are_found() {
    let Some(keys) = Keys::new() else { return };
    let key = keys.text("ed25519");
    fs::write(keys.path(), format!("host {key}\n[host]:2222 {key}\n[fe80::1]:2222 {key}\n")).unwrap();
    assert!(ssh_keygen(&["-H", "-f", keys.path().to_str().unwrap()]).unwrap().status.success());
    let text = fs::read_to_string(keys.path()).unwrap();
    assert!(text.lines().all(|line| line.starts_with("|1|")), "{text}");
    let known = KnownHosts::read(&[keys.path()]).unwrap();
    let (key, other) = (keys.blob("ed25519"), keys.blob("other"));
    assert_eq!(known.check("HOST", 22, &key), Verdict::Known);
    assert_eq!(known.check("host", 2222, &key), Verdict::Known);
    assert_eq!(known.check("fe80::1", 2222, &key), Verdict::Known);
    assert_eq!(known.check("fe80::1", 22, &key), Verdict::Unknown);
    let recorded = described(&key);
    assert_eq!(known.check("host", 2222, &other), Verdict::Changed { recorded, file: keys.path(), line: 2 });
}

#[test]
fn another_key_is_a_change_whatever_its_type() {
    let Some(keys) = Keys::new() else { return };
    let known = keys.known(&format!("# note\nhost {}\nhost {}\n", keys.text("ecdsa"), keys.text("other")));
    let changed =
        |kind: &str, line| Verdict::Changed { recorded: described(&keys.blob(kind)), file: keys.path(), line };
    assert_eq!(known.check("host", 22, &keys.blob("ed25519")), changed("other", 3));
    assert_eq!(known.check("host", 22, &keys.blob("rsa")), changed("ecdsa", 2));
    assert_eq!(known.check("host", 22, &keys.blob("ecdsa")), Verdict::Known);
    assert_eq!(known.key_types("host", 22), ["ecdsa-sha2-nistp256", "ssh-ed25519"]);
    let known = keys.known(&format!("[host]:2222 {}\n", keys.text("rsa")));
    assert_eq!(known.key_types("host", 2222), ["rsa-sha2-512", "rsa-sha2-256"]);
    assert_eq!(known.key_types("host", 22), [""; 0]);
}

#[test]
fn an_entry_without_port_vouches_but_does_not_accuse() {
    let Some(keys) = Keys::new() else { return };
    let known = keys.known(&format!("host {}\n", keys.text("ed25519")));
    assert_eq!(known.check("host", 2222, &keys.blob("ed25519")), Verdict::Known);
    assert_eq!(known.check("host", 2222, &keys.blob("other")), Verdict::Unknown);
    assert_eq!(known.key_types("host", 2222), ["ssh-ed25519"]);
}

#[test]
fn a_revoked_key_is_refused_whatever_else_is_on_record() {
    let Some(keys) = Keys::new() else { return };
    let (key, text) = (keys.blob("ed25519"), keys.text("ed25519"));
    for host in ["host", "[host]:2222", "*"] {
        let known = keys.known(&format!("[host]:2222 {text}\n@revoked {host} {text}\n"));
        assert_eq!(known.check("host", 2222, &key), Verdict::Revoked { file: keys.path(), line: 2 }, "{host}");
    }
    let known = keys.known(&format!("@revoked * {}\nhost {text}\n", keys.text("other")));
    assert_eq!(known.check("host", 22, &key), Verdict::Known);
}

#[test]
fn an_authority_is_no_host_key() {
    let Some(keys) = Keys::new() else { return };
    let known = keys.known(&format!("@cert-authority * {}\n", keys.text("ed25519")));
    assert_eq!(known.check("host", 22, &keys.blob("ed25519")), Verdict::Unknown);
    assert_eq!(known.key_types("host", 22), [""; 0]);
}

#[test]
fn a_new_host_is_recorded_once_on_a_line_of_its_own() {
    let Some(keys) = Keys::new() else { return };
    let path = keys.folder.path().join("new/.ssh/known_hosts");
    let (key, other) = (keys.blob("ed25519"), keys.blob("other"));
    assert_eq!(record(&path, "Host", 2222, &key).unwrap(), Verdict::Known);
    let expected = format!("[host]:2222 {}\n", keys.text("ed25519"));
    assert_eq!(fs::read_to_string(&path).unwrap(), expected);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::metadata(path.parent().unwrap()).unwrap().permissions().mode() & 0o777, 0o700);

    assert_eq!(record(&path, "host", 2222, &key).unwrap(), Verdict::Known);
    assert!(matches!(record(&path, "host", 2222, &other).unwrap(), Verdict::Changed { line: 1, .. }));
    assert_eq!(fs::read_to_string(&path).unwrap(), expected);

    fs::write(&path, expected.trim_end()).unwrap();
    assert_eq!(record(&path, "10.0.0.1", 22, &other).unwrap(), Verdict::Known);
    assert_eq!(fs::read_to_string(&path).unwrap(), format!("{expected}10.0.0.1 {}\n", keys.text("other")));
    let output = ssh_keygen(&["-F", "[host]:2222", "-f", path.to_str().unwrap()]).unwrap();
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn a_name_that_would_be_a_pattern_is_not_recorded() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("known_hosts");
    let key = b"\0\0\0\x0bssh-ed25519\0\0\0\x01k";
    for host in ["*", "a,b", "a b", "!a", "|1|a", "@revoked", "#a", ""] {
        assert!(record(&path, host, 22, key).is_err(), "{host}");
    }
    assert!(!path.exists());
}

#[test]
fn a_missing_file_is_empty_and_a_folder_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("none/known_hosts");
    assert_eq!(KnownHosts::read(&[missing]).unwrap().check("host", 22, b"x"), Verdict::Unknown);
    let error = KnownHosts::read(&[folder.path().into()]).unwrap_err();
    assert!(matches!(error, ConnectError::KnownHosts { .. }), "{error:?}");
}
