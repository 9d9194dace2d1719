//! The folder queue: its files, and many processes at once.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use embstore::embed::queue::{Roots, Status};

use crate::world::{World, claim, complete, write_output};

const FOLDER: &str = "QUEUE_TEST_FOLDER";

fn beside(output: &str, end: &str) -> PathBuf {
    PathBuf::from(format!("{output}{end}"))
}

#[test]
fn files_beside_the_output_tell_what_happens() {
    let world = World::new("dir", 1);
    let queue = world.open("one");
    let held = claim(&*queue);
    let (lock, failed) = (beside(&held.job.output, ".claim"), beside(&held.job.output, ".failed"));
    let record: serde_json::Value = serde_json::from_slice(&fs::read(&lock).expect("claimed")).expect("JSON");
    assert_eq!((&record["worker"], &record["tries"]), (&"one".into(), &1.into()));
    assert_eq!(record["pid"], std::process::id());
    assert!(queue.fail(&held, "broken").expect("serves"));
    assert!(!lock.exists() && failed.exists());
    assert!(complete(&*queue, &claim(&*queue)));
    assert!(!lock.exists() && !failed.exists());
}

#[test]
fn an_output_that_is_not_whole_waits_behind_those_that_are_missing() {
    let world = World::new("dir", 4);
    let broken = world.jobs().remove(0);
    for job in &world.jobs()[1..3] {
        write_output(job);
    }
    fs::create_dir_all(Path::new(&broken.output).parent().expect("has one")).expect("created");
    fs::write(&broken.output, "PAR1 and then the disk was full").expect("written");
    let (one, two) = (world.open("one"), world.open("two"));
    let count = |status: Status| (status.done, status.waiting, status.running.len(), status.dead);
    assert_eq!(count(one.status().expect("serves")), (3, 1, 0, 0), "to count, nothing is looked into");

    assert_eq!(claim(&*one).job, world.jobs()[0]);
    let mut held = claim(&*two);
    assert_eq!(held.job, broken);
    assert!(one.claim().expect("serves").is_none());
    assert_eq!(one.left().expect("serves"), 2, "the broken one is another's, and not yet done");
    assert_eq!(count(one.status().expect("serves")), (2, 0, 2, 0));
    for tries in 2..=3 {
        assert!(two.fail(&held, "its input is broken too").expect("serves"));
        held = claim(&*two);
        assert_eq!((&held.job, held.tries), (&broken, tries));
    }
    assert!(two.fail(&held, "its input is broken too").expect("serves"));
    assert_eq!((count(one.status().expect("serves")), one.left().expect("serves")), ((2, 0, 1, 1), 1));
    assert_eq!(two.retry().expect("serves"), 1);
    held = claim(&*two);
    assert_eq!((&held.job, held.tries), (&broken, 1));
    assert!(complete(&*two, &held));
    assert_eq!((count(one.status().expect("serves")), one.left().expect("serves")), ((3, 0, 1, 0), 1));
}

#[test]
fn nothing_is_left_beside_an_output_that_is_whole() {
    let mut world = World::new("dir", 2);
    world.tries = 1;
    let queue = world.open("one");
    // One dies before its last word; of the other only the embedding without a queue succeeds.
    let (silent, failing) = (claim(&*queue), claim(&*queue));
    assert!(queue.fail(&failing, "broken").expect("serves"));
    world.jobs().iter().for_each(write_output);
    age(&beside(&silent.job.output, ".claim"));
    world.tries = 3;
    let observer = world.open("observer");
    let status = observer.status().expect("serves");
    assert_eq!((status.done, status.dead, observer.retry().expect("serves")), (2, 0, 0));
    assert!(world.open("other").claim().expect("serves").is_none());
    assert!(!beside(&silent.job.output, ".claim").exists() && !beside(&failing.job.output, ".failed").exists());
}

#[test]
fn a_job_is_dead_whatever_others_would_allow() {
    let mut world = World::new("dir", 1);
    world.tries = 1;
    let queue = world.open("one");
    assert!(queue.fail(&claim(&*queue), "broken").expect("serves"));
    world.tries = 3;
    let other = world.open("other");
    assert_eq!(other.status().expect("serves").dead, 1);
    assert!(other.claim().expect("serves").is_none());
    assert_eq!(other.retry().expect("serves"), 1);
    assert_eq!(claim(&*other).tries, 1);
}

#[test]
fn what_others_wrote_into_these_files_stops_nobody() {
    let world = World::new("dir", 2);
    for (job, text) in world.jobs().iter().zip(["", "no JSON"]) {
        fs::create_dir_all(Path::new(&job.output).parent().expect("has one")).expect("created");
        fs::write(beside(&job.output, ".failed"), text).expect("written");
        fs::write(beside(&job.output, ".claim"), text).expect("written");
    }
    let queue = world.open("one");
    assert_eq!(queue.status().expect("serves").running.len(), 2);
    assert!(queue.claim().expect("serves").is_none(), "they may be of somebody who begins just now");
    for job in world.jobs() {
        age(&beside(&job.output, ".claim"));
    }
    for _ in 0..2 {
        assert!(complete(&*queue, &claim(&*queue)));
    }
}

/// As if nobody had renewed it for an hour.
fn age(claim: &Path) {
    let hour = SystemTime::now() - Duration::from_secs(3600);
    File::options().write(true).open(claim).and_then(|file| file.set_modified(hour)).expect("aged");
}

#[test]
fn a_claim_that_ran_out_goes_to_one_alone() {
    let mut world = World::new("dir", 1);
    world.tries = 1000;
    for round in 1..=30 {
        let won = AtomicU32::new(0);
        std::thread::scope(|scope| {
            for worker in 0..8 {
                let (world, won) = (&world, &won);
                scope.spawn(move || {
                    if let Some(claim) = world.open(&format!("worker {worker}")).claim().expect("serves") {
                        assert_eq!(claim.tries, round);
                        won.fetch_add(1, Ordering::SeqCst);
                    }
                });
            }
        });
        assert_eq!(won.into_inner(), 1, "round {round}");
        age(&beside(&world.jobs()[0].output, ".claim"));
    }
}

/// Not a test of its own: the program of the processes below.
#[test]
fn a_worker_process() {
    let Some(folder) = std::env::var_os(FOLDER).map(PathBuf::from) else { return };
    let mut world = World::new("dir", 0);
    world.roots = Roots { chains: folder.join("chains"), embeddings: folder.join("embeddings") };
    world.lease = Duration::from_millis(500);
    let queue = world.open(&format!("process {}", std::process::id()));
    let mut log = File::options().append(true).create(true).open(folder.join("log")).expect("opened");
    while queue.left().expect("serves") > 0 {
        while let Some(claim) = queue.claim().expect("serves") {
            std::thread::sleep(Duration::from_millis(10));
            write_output(&claim.job);
            if complete(&*queue, &claim) {
                log.write_all(format!("{}\n", claim.job.input).as_bytes()).expect("written");
            }
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn processes_share_the_work_and_survive_each_other() {
    let world = World::new("dir", 200);
    let folder = world.roots.chains.parent().expect("has one");
    let spawn = || {
        let mut command = Command::new(std::env::current_exe().expect("this test"));
        command.args(["--exact", "folder::a_worker_process"]).env(FOLDER, folder).stdout(Stdio::null());
        command.spawn().expect("runs")
    };
    let mut processes: Vec<Child> = (0..4).map(|_| spawn()).collect();
    for index in 0..2 {
        std::thread::sleep(Duration::from_millis(200));
        processes[index].kill().expect("killed");
        processes.push(spawn());
    }
    for (index, mut process) in processes.into_iter().enumerate() {
        let ended = process.wait().expect("ends");
        assert!(ended.success() || index < 2, "{ended}");
    }
    assert_eq!(world.jobs().len(), 0, "every output is there");
    let log = fs::read_to_string(folder.join("log")).expect("written");
    let mut lines: Vec<&str> = log.lines().collect();
    let all = lines.len();
    lines.sort_unstable();
    lines.dedup();
    assert_eq!(lines.len(), all, "nothing was finished twice");
    assert!(all >= 198, "{all}");
    let status = world.open("observer").status().expect("serves");
    assert_eq!((status.done, status.waiting, status.running.len(), status.dead), (200, 0, 0, 0));
}
