//! Passwords, TLS, and servers that are not there.

use std::path::Path;
use std::process::{Command, Output};

use embstore::embed::queue::QueueError;

use crate::server::{Server, free_port};
use crate::world::World;

#[test]
fn a_server_that_is_not_there_is_named_with_what_to_run() {
    let port = free_port();
    let world = World::new(&format!("redis://me:secret@127.0.0.1:{port}"), 0);
    let error = world.try_open("one").err().expect("nobody listens");
    assert!(matches!(error, QueueError::Unreachable { .. }), "{error}");
    assert!(
        error.to_string().contains(&format!("127.0.0.1:{port}")) && !error.to_string().contains("secret"),
        "{error}"
    );
    assert!(error.hint().contains("redis-server") && error.hint().contains("--queue dir"), "{}", error.hint());
    let world = World::new("unix:///nowhere/redis.sock", 0);
    assert!(world.try_open("one").err().expect("no socket").to_string().contains("/nowhere/redis.sock"));
}

#[test]
fn passwords_open_and_are_not_told() {
    let port = free_port();
    let _server = Server::with(&["--port", &port.to_string(), "--requirepass", "secret"]);
    let mut world = World::new(&format!("redis://127.0.0.1:{port}"), 1);
    let login = |world: &World| match world.try_open("one").err().expect("refused") {
        QueueError::Login { server, why } => (server, why),
        other => panic!("{other}"),
    };
    assert_eq!(login(&world), (format!("127.0.0.1:{port}"), "it wants a password".into()));
    let bare = world.address.clone();
    world.address = bare.clone().or_login(None, Some("wr0ng"));
    let (_, why) = login(&world);
    assert_eq!(why, "wrong user name or password");
    world.address = bare.clone().or_login(Some("nobody"), Some("secret"));
    assert_eq!(login(&world).1, "wrong user name or password");
    world.address = bare.or_login(None, Some("secret"));
    assert_eq!(world.open("one").push(&world.jobs()).expect("serves").queued, 1);
}

#[test]
fn tls_needs_a_certificate_that_is_trusted() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let (ours, theirs) = (authority(folder.path(), "ours"), authority(folder.path(), "theirs"));
    let (certificate, key) = certificate(folder.path(), "ours");
    let port = free_port().to_string();
    let _server = Server::with(&[
        "--port",
        "0",
        "--tls-port",
        &port,
        "--tls-auth-clients",
        "no",
        "--tls-ca-cert-file",
        &ours,
        "--tls-cert-file",
        &certificate,
        "--tls-key-file",
        &key,
    ]);
    let url = format!("rediss://localhost:{port}");
    let trusted = status(&url, &ours);
    assert!(trusted.status.success(), "{}", String::from_utf8_lossy(&trusted.stderr));

    let said = |output: Output| {
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stderr).expect("UTF-8")
    };
    let untrusted = said(status(&url, &theirs));
    assert!(untrusted.starts_with(&format!("✗ no TLS with localhost:{port}: ")), "{untrusted}");
    assert!(untrusted.contains("SSL_CERT_FILE"), "{untrusted}");
    let another_name = said(status(&url.replace("localhost", "127.0.0.1"), &ours));
    assert!(another_name.contains("no TLS with 127.0.0.1"), "{another_name}");
    // Without TLS to a port that speaks nothing else.
    let plain = said(status(&url.replace("rediss", "redis"), &ours));
    assert!(plain.contains("rediss://"), "{plain}");
}

#[test]
fn tls_to_a_server_without_it_is_told() {
    let port = free_port().to_string();
    let _server = Server::with(&["--port", &port]);
    let world = World::new(&format!("rediss://localhost:{port}"), 0);
    let error = world.try_open("one").err().expect("no TLS");
    assert!(matches!(error, QueueError::Tls { .. }), "{error}");
}

/// The program itself, as the authorities that are trusted come from its environment.
fn status(url: &str, authorities: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_embstore"));
    command.args(["embed", "status", "--queue", url]).env("SSL_CERT_FILE", authorities).env_remove("SSL_CERT_DIR");
    command.output().expect("runs")
}

fn openssl(folder: &Path, line: &str) {
    let output = Command::new("openssl").args(line.split(' ')).current_dir(folder).output().expect("openssl is there");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn authority(folder: &Path, name: &str) -> String {
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    openssl(folder, &format!("req -x509 {key} -keyout {name}-ca.key -out {name}-ca.pem -days 2 -subj /CN={name}"));
    folder.join(format!("{name}-ca.pem")).display().to_string()
}

/// A certificate for localhost, and its key.
fn certificate(folder: &Path, authority: &str) -> (String, String) {
    std::fs::write(folder.join("names"), "subjectAltName=DNS:localhost\nbasicConstraints=CA:FALSE\n").expect("written");
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    openssl(folder, &format!("req {key} -keyout leaf.key -out leaf.csr -subj /CN=localhost"));
    let signed_by = format!("-CA {authority}-ca.pem -CAkey {authority}-ca.key -CAcreateserial");
    openssl(folder, &format!("x509 -req -in leaf.csr {signed_by} -out leaf.pem -days 2 -extfile names"));
    (folder.join("leaf.pem").display().to_string(), folder.join("leaf.key").display().to_string())
}
