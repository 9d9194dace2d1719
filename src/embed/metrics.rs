//! The state of a queue for Prometheus: its text format over HTTP.
//!
//! <https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format>

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use super::error::EmbedError;
use super::queue::{Queue, Status};
use crate::progress::Cancel;

/// How long a client may take to ask and to listen.
const PATIENCE: Duration = Duration::from_secs(2);
/// The longest request that is read.
const LONGEST: usize = 8192;

/// The state of the queue of this name in the text format.
#[must_use]
pub fn metrics(name: &str, status: &Status) -> String {
    let name = name.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    let mut text = String::new();
    let mut tell = |metric: &str, kind: &str, help: &str, values: &[(&str, f64)]| {
        text.push_str(&format!("# HELP embstore_{metric} {help}\n# TYPE embstore_{metric} {kind}\n"));
        for (label, value) in values {
            text.push_str(&format!("embstore_{metric}{{queue=\"{name}\"{label}}} {value}\n"));
        }
    };
    let jobs = [
        (",state=\"waiting\"", status.waiting as f64),
        (",state=\"running\"", status.running.len() as f64),
        (",state=\"dead\"", status.dead as f64),
    ];
    tell("jobs", "gauge", "Jobs that wait, run, or are dead.", &jobs);
    tell("jobs_done_total", "counter", "Jobs that are done.", &[("", status.done as f64)]);
    tell("rows_total", "counter", "Rows of the outputs.", &[("", status.rows as f64)]);
    tell("texts_total", "counter", "Texts that were embedded.", &[("", status.texts as f64)]);
    tell("rows_per_second", "gauge", "Rows a second lately.", &[("", status.speed.rows)]);
    tell("texts_per_second", "gauge", "Texts a second lately.", &[("", status.speed.texts)]);
    let longest = status.running.iter().map(|job| job.seconds).fold(0.0, f64::max);
    tell("longest_running_seconds", "gauge", "How long the longest job has run.", &[("", longest)]);
    if let Some(seconds) = status.seconds_left() {
        tell("seconds_left", "gauge", "Seconds until nothing waits or runs.", &[("", seconds)]);
    }
    text
}

/// A socket on which Prometheus asks.
#[derive(Debug)]
pub struct Listener(TcpListener);

impl Listener {
    /// Listens on `address`, such as `127.0.0.1:9121`.
    ///
    /// # Errors
    /// Where the address is none of this machine, or in use.
    pub fn bind(address: &str) -> Result<Self, EmbedError> {
        let listen = || {
            let listener = TcpListener::bind(address)?;
            listener.set_nonblocking(true)?;
            Ok(Listener(listener))
        };
        listen().map_err(|source| EmbedError::Listen { address: address.into(), source })
    }

    /// Where it listens, the port chosen by the system where it was 0.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        self.0.local_addr().ok()
    }

    /// Answers one client after the other until the caller asks to stop.
    pub fn serve(&self, name: &str, queue: &dyn Queue, cancel: &Cancel) {
        while !cancel.is_cancelled() {
            match self.0.accept() {
                // A client that goes away is no loss.
                Ok((client, _)) => drop(answer(client, name, queue)),
                Err(_) => drop(cancel.sleep(Duration::from_millis(50))),
            }
        }
    }
}

fn answer(mut client: TcpStream, name: &str, queue: &dyn Queue) -> io::Result<()> {
    client.set_nonblocking(false)?;
    client.set_read_timeout(Some(PATIENCE))?;
    client.set_write_timeout(Some(PATIENCE))?;
    let request = request(&mut client)?;
    let path = request.split(' ').nth(1).unwrap_or_default();
    let (status, text) = match (request.starts_with("GET "), path.split('?').next()) {
        (false, _) => ("405 Method Not Allowed", "only GET\n".into()),
        (true, Some("/metrics" | "/")) => match queue.status() {
            Ok(status) => ("200 OK", metrics(name, &status)),
            Err(error) => ("503 Service Unavailable", format!("{error}\n")),
        },
        _ => ("404 Not Found", "see /metrics\n".into()),
    };
    let length = text.len();
    write!(
        client,
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n{text}"
    )
}

/// The head of a request, up to the empty line.
fn request(client: &mut TcpStream) -> io::Result<String> {
    let began = Instant::now();
    let mut head = Vec::new();
    let mut buffer = [0; 1024];
    while head.len() < LONGEST && began.elapsed() < PATIENCE && !head.windows(4).any(|end| end == b"\r\n\r\n") {
        match client.read(&mut buffer)? {
            0 => break,
            count => head.extend_from_slice(&buffer[..count]),
        }
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embed::queue::Speed;

    #[test]
    fn the_text_is_what_prometheus_reads() {
        let speed = Speed { jobs: 0.5, rows: 100.0, texts: 99.5 };
        let status = Status { waiting: 10, dead: 2, done: 3, rows: 300, texts: 290, speed, ..Status::default() };
        let text = metrics("a\"b", &status);
        for line in [
            "# TYPE embstore_jobs gauge",
            "embstore_jobs{queue=\"a\\\"b\",state=\"waiting\"} 10",
            "embstore_jobs{queue=\"a\\\"b\",state=\"dead\"} 2",
            "embstore_jobs_done_total{queue=\"a\\\"b\"} 3",
            "embstore_texts_per_second{queue=\"a\\\"b\"} 99.5",
            "embstore_seconds_left{queue=\"a\\\"b\"} 20",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
        assert!(!metrics("q", &Status::default()).contains("seconds_left"));
    }
}
