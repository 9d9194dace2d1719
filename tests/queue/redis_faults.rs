//! Cuts, restarts and lost answers.

use std::time::{Duration, Instant};

use embstore::Cancel;
use embstore::embed::queue::{Done, Pushed, QueueError, open};
use redis::Commands;

use crate::proxy::Proxy;
use crate::server::Server;
use crate::world::{World, claim, complete};

const LIST: &str = "phase4_todo_queue";

#[test]
fn a_server_that_is_killed_and_started_again_loses_nothing() {
    let mut server = Server::start();
    let world = World::new(&server.url(), 3);
    let queue = world.open("one");
    assert_eq!(queue.push(&world.jobs()).expect("serves").queued, 3);
    let held = claim(&*queue);
    server.kill();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(400));
            server.start_again();
        });
        assert!(complete(&*queue, &held), "the lease outlives the server");
    });
    let status = queue.status().expect("serves");
    assert_eq!((status.waiting, status.running.len(), status.dead, status.done), (2, 0, 0, 1));
    assert_eq!(queue.push(&world.jobs()).expect("serves"), Pushed { queued: 0, already: 2 });
}

#[test]
fn leases_that_ran_out_while_the_server_was_away_last_once_more() {
    let mut server = Server::start();
    let mut world = World::new(&server.url(), 1);
    world.lease = Duration::from_secs(4);
    let (one, other) = (world.open("one"), world.open("other"));
    one.push(&world.jobs()).expect("serves");
    let held = claim(&*one);
    server.kill();
    std::thread::sleep(world.lease);
    server.start_again();
    assert!(other.claim().expect("serves").is_none(), "nobody could renew it");
    assert!(one.heartbeat(&held).expect("serves"));
    assert!(complete(&*one, &held));
}

#[test]
fn a_call_whose_answer_is_lost_does_nothing_twice() {
    let server = Server::start();
    let proxy = Proxy::new(&server.url());
    let world = World::new(&proxy.url(), 10);
    let queue = world.open("one");
    let mut raw = server.raw();

    // The manager knows the queue already, so that its next answer is that of the push.
    queue.push(&[]).expect("serves");
    proxy.swallow_the_next_answer();
    assert_eq!(queue.push(&world.jobs()).expect("serves"), Pushed { queued: 10, already: 0 });
    assert!(proxy.has_swallowed());
    assert_eq!(raw.llen::<_, u64>(LIST).expect("a list"), 10);

    // The server knows the scripts, so that the answer that is lost is not that it does not.
    let first = claim(&*queue);
    assert!(queue.heartbeat(&first).expect("serves") && queue.give_back(&first).expect("serves"));

    proxy.swallow_the_next_answer();
    let first = claim(&*queue);
    assert!(proxy.has_swallowed());
    assert_eq!((first.tries, raw.llen::<_, u64>(LIST).expect("a list")), (1, 9));

    proxy.swallow_the_next_answer();
    assert!(queue.heartbeat(&first).expect("serves"));

    proxy.swallow_the_next_answer();
    assert!(complete(&*queue, &first));
    assert!(proxy.has_swallowed());
    let status = queue.status().expect("serves");
    assert_eq!((status.done, status.rows), (1, 10));

    let second = claim(&*queue);
    proxy.swallow_the_next_answer();
    assert!(queue.give_back(&second).expect("serves"));
    assert!(proxy.has_swallowed());
    assert_eq!(raw.llen::<_, u64>(LIST).expect("a list"), 9);

    let second = claim(&*queue);
    assert_eq!(second.tries, 1);
    proxy.swallow_the_next_answer();
    assert!(queue.fail(&second, "broken").expect("serves"));
    assert!(proxy.has_swallowed());
    assert_eq!((raw.llen::<_, u64>(LIST).expect("a list"), queue.left().expect("serves")), (9, 9));
}

#[test]
fn a_network_that_is_cut_is_waited_for() {
    let server = Server::start();
    let proxy = Proxy::new(&server.url());
    let world = World::new(&proxy.url(), 2);
    let queue = world.open("one");
    queue.push(&world.jobs()).expect("serves");
    let held = claim(&*queue);
    proxy.cut(true);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(500));
            proxy.cut(false);
        });
        assert!(complete(&*queue, &held));
    });
    assert_eq!(queue.left().expect("serves"), 1);
}

#[test]
fn patience_ends() {
    let server = Server::start();
    let proxy = Proxy::new(&server.url());
    let mut world = World::new(&proxy.url(), 1);
    world.patience = Duration::from_millis(300);
    let queue = world.open("one");
    queue.push(&world.jobs()).expect("serves");
    proxy.cut(true);
    let error = queue.claim().expect_err("away");
    assert!(matches!(error, QueueError::Lost { .. }), "{error}");
    assert!(error.to_string().contains(&format!("127.0.0.1:{}", proxy.port)), "{error}");
    assert!(error.hint().contains("nothing is lost"));
    proxy.cut(false);
    assert!(queue.claim().expect("serves").is_some());
}

#[test]
fn after_a_stop_a_server_that_is_away_is_not_waited_for() {
    let server = Server::start();
    let proxy = Proxy::new(&server.url());
    let world = World::new(&proxy.url(), 2);
    let cancel = Cancel::new();
    let queue = open(&world.address, &world.options("one"), &cancel).expect("opens");
    queue.push(&world.jobs()).expect("serves");
    let (first, second) = (claim(&*queue), claim(&*queue));
    cancel.cancel();
    assert!(queue.give_back(&first).expect("still serves"));
    proxy.cut(true);
    let began = Instant::now();
    assert!(queue.finish(&second, &Done::default()).is_err());
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

#[test]
fn scripts_that_the_server_has_forgotten_are_told_again() {
    let server = Server::start();
    let world = World::new(&server.url(), 2);
    let queue = world.open("one");
    queue.push(&world.jobs()).expect("serves");
    redis::cmd("SCRIPT").arg("FLUSH").exec(&mut server.raw()).expect("flushed");
    assert!(complete(&*queue, &claim(&*queue)));
}

#[test]
fn a_replica_is_waited_for_until_it_may_write() {
    let server = Server::start();
    let world = World::new(&server.url(), 1);
    let queue = world.open("one");
    let mut raw = server.raw();
    redis::cmd("REPLICAOF").arg("127.0.0.1").arg(1).exec(&mut raw).expect("obeys");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(300));
            redis::cmd("REPLICAOF").arg("NO").arg("ONE").exec(&mut raw).expect("obeys");
        });
        assert_eq!(queue.push(&world.jobs()).expect("serves").queued, 1);
    });
}

#[test]
fn a_server_that_still_loads_is_waited_for() {
    let slow = ["--port", "0", "--key-load-delay", "2000", "--loading-process-events-interval-bytes", "1024"];
    let mut server = Server::with(&slow);
    let mut raw = server.raw();
    for index in 0..1500 {
        raw.set::<_, _, ()>(format!("other {index}"), "x".repeat(64)).expect("set");
    }
    let world = World::new(&server.url(), 1);
    world.open("one").push(&world.jobs()).expect("serves");
    redis::cmd("SAVE").exec(&mut raw).expect("saved");
    server.kill();
    server.start_again();
    // The socket is there before the keys are.
    let began = Instant::now();
    let loads = loop {
        if let Ok(mut raw) = redis::Client::open(server.url()).and_then(|client| client.get_connection()) {
            break raw.llen::<_, u64>(LIST);
        }
        assert!(began.elapsed() < Duration::from_secs(10));
    };
    assert!(loads.is_err_and(|error| error.to_string().contains("loading")), "the test is too slow for the server");
    assert!(world.open("two").claim().expect("serves").is_some());
}
