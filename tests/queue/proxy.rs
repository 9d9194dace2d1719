//! A network that can be cut, between a queue and its server.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Passes bytes on, until it is told to lose some.
pub(crate) struct Proxy {
    pub(crate) port: u16,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    /// The next answer is lost, and the connection with it.
    swallow: AtomicBool,
    /// Nobody gets through.
    cut: AtomicBool,
}

impl Proxy {
    pub(crate) fn new(server: &str) -> Self {
        let socket = PathBuf::from(server.strip_prefix("unix://").expect("a socket"));
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("has one").port();
        let state = Arc::new(State::default());
        let shared = state.clone();
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let (client, state) = (client.expect("accepted"), shared.clone());
                if state.cut.load(Ordering::SeqCst) {
                    continue;
                }
                if let Ok(server) = UnixStream::connect(&socket) {
                    std::thread::spawn(move || pass(client, server, &state));
                }
            }
        });
        Proxy { port, state }
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub(crate) fn swallow_the_next_answer(&self) {
        self.state.swallow.store(true, Ordering::SeqCst);
    }

    pub(crate) fn has_swallowed(&self) -> bool {
        !self.state.swallow.load(Ordering::SeqCst)
    }

    pub(crate) fn cut(&self, is_cut: bool) {
        self.state.cut.store(is_cut, Ordering::SeqCst);
    }
}

fn pass(mut client: TcpStream, mut server: UnixStream, state: &State) {
    let (mut client_reads, mut server_reads) =
        (client.try_clone().expect("cloned"), server.try_clone().expect("cloned"));
    client_reads.set_read_timeout(Some(Duration::from_millis(20))).expect("set");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut buffer = [0; 1 << 16];
            loop {
                match client_reads.read(&mut buffer) {
                    Ok(count) if count > 0 && !state.cut.load(Ordering::SeqCst) => {
                        if server.write_all(&buffer[..count]).is_err() {
                            break;
                        }
                    }
                    Err(error) if is_slow(&error) && !state.cut.load(Ordering::SeqCst) => {}
                    _ => break,
                }
            }
            let _ = server.shutdown(Shutdown::Both);
        });
        let mut buffer = [0; 1 << 16];
        while let Ok(count @ 1..) = server_reads.read(&mut buffer) {
            if state.swallow.swap(false, Ordering::SeqCst) || client.write_all(&buffer[..count]).is_err() {
                break;
            }
        }
        let _ = client.shutdown(Shutdown::Both);
    });
}

fn is_slow(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut)
}
