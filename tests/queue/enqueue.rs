//! The manager.

use std::fs;
use std::os::unix::fs::MetadataExt;

use embstore::embed::{EmbedError, EnqueueOptions, EnqueueReport, enqueue};
use embstore::{Cancel, Observer, Silent};
use redis::Commands;
use serde_json::json;

use crate::server::Server;
use crate::world::{World, claim, write_output};

const LIST: &str = "phase4_todo_queue";
const CHECKPOINT: &str = ".embstore-enqueue.jsonl";

fn options(world: &World) -> EnqueueOptions {
    EnqueueOptions { address: world.address.clone(), queue: world.options("manager"), dry_run: false }
}

fn report(options: &EnqueueOptions) -> EnqueueReport {
    EnqueueReport { seconds: 0.0, ..enqueue(options, Observer::none()).expect("queued") }
}

#[test]
fn what_is_missing_is_queued_once() {
    let server = Server::start();
    let world = World::new(&server.url(), 2500);
    world.jobs().iter().take(100).for_each(write_output);
    let options = options(&world);
    let counted = EnqueueReport { found: 2500, done: 100, folders: 10, ..EnqueueReport::default() };

    assert_eq!(report(&EnqueueOptions { dry_run: true, ..options.clone() }), counted);
    assert!(!server.raw().exists::<_, bool>(LIST).expect("told"));
    assert!(!world.roots.embeddings.join(CHECKPOINT).exists());

    assert_eq!(report(&options), EnqueueReport { queued: 2400, ..counted });
    assert!(!world.roots.embeddings.join(CHECKPOINT).exists());
    assert_eq!(server.raw().llen::<_, u64>(LIST).expect("a list"), 2400);
    assert_eq!(report(&options), EnqueueReport { already: 2400, ..counted });
    assert!(world.jobs().contains(&claim(&*world.open("worker")).job));

    world.jobs().iter().for_each(write_output);
    assert_eq!(report(&options), EnqueueReport { done: 2500, ..counted });
}

#[test]
fn without_a_server_what_is_missing_waits_by_itself() {
    let world = World::new("dir", 20);
    let held = claim(&*world.open("worker"));
    let expected = EnqueueReport { found: 20, queued: 19, already: 1, folders: 10, ..EnqueueReport::default() };
    assert_eq!(report(&options(&world)), expected);
    drop(held);
}

#[test]
fn an_interrupted_call_goes_on_where_it_was() {
    let server = Server::start();
    let world = World::new(&server.url(), 100);
    let options = options(&world);
    let cancel = Cancel::new();
    cancel.cancel();
    let error = enqueue(&options, Observer { progress: &Silent, cancel: &cancel }).expect_err("stopped");
    assert!(error.is_cancelled() && error.hint().contains("again"), "{error}");

    // As if it had queued folder 03, and folder 04 as it was before something was added.
    let modified = |name: &str| {
        let metadata = fs::metadata(world.roots.chains.join(name)).expect("there");
        i128::from(metadata.mtime()) * 1_000_000_000 + i128::from(metadata.mtime_nsec())
    };
    let _: () = server.raw().hset(format!("{{{LIST}}}:pushed"), "id", "ours").expect("set");
    let head = json!({"queue": options.address.to_string(), "name": LIST, "id": "ours", "chains": world.roots.chains});
    let lines = [
        head.to_string(),
        format!("{{\"folder\": \"03\", \"modified\": {}}}", modified("03")),
        format!("{{\"folder\": \"04\", \"modified\": {}}}", modified("04") - 1),
        "{\"folder\": \"05\", \"modif".into(),
    ];
    fs::create_dir_all(&world.roots.embeddings).expect("created");
    let checkpoint = world.roots.embeddings.join(CHECKPOINT);
    fs::write(&checkpoint, lines.join("\n")).expect("written");
    let expected = EnqueueReport { found: 100, queued: 90, already: 10, folders: 10, ..EnqueueReport::default() };
    assert_eq!(report(&options), expected);
    assert!(!checkpoint.exists());

    // What was noted for another queue says nothing of this one.
    fs::write(&checkpoint, lines.join("\n").replace(LIST, "another")).expect("written");
    assert_eq!(report(&options), EnqueueReport { queued: 10, already: 90, ..expected });

    // Nor what was noted before the server lost everything.
    redis::cmd("FLUSHALL").exec(&mut server.raw()).expect("emptied");
    fs::write(&checkpoint, lines.join("\n")).expect("written");
    assert_eq!(report(&options), EnqueueReport { queued: 100, already: 0, ..expected });
}

#[test]
fn no_texts_are_an_error() {
    let world = World::new("dir", 0);
    fs::create_dir_all(&world.roots.chains).expect("created");
    let error = enqueue(&options(&world), Observer::none()).expect_err("nothing there");
    assert!(matches!(error, EmbedError::NoTexts { .. }) && error.hint().contains("--chains"), "{error}");
}
