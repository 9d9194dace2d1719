use std::ffi::OsString;

use clap::{Arg, ArgAction, Command, value_parser};

use super::error::ConfigError;
use super::{Settings, named};

fn toy() -> Command {
    let value = |name: &'static str| Arg::new(name).long(name);
    let switch = |name: &'static str| value(name).action(ArgAction::SetTrue);
    let jobs = || value("jobs").value_parser(value_parser!(u16).range(1..=64)).default_value("4");
    Command::new("toy")
        .subcommand_required(true)
        .arg(value("progress").global(true).default_value("auto"))
        .arg(switch("quiet").short('q').global(true))
        .arg(value("config").global(true))
        .subcommand(
            Command::new("sync")
                .arg(jobs())
                .arg(value("output").default_value("embeddings/"))
                .arg(value("pattern"))
                .arg(value("clusters").action(ArgAction::Append).num_args(1..)),
        )
        .subcommand(
            Command::new("merge")
                .arg(value("output").short('o').required(true))
                .arg(value("rows").value_parser(value_parser!(u64)).help("Rows [default: all]"))
                .arg(value("pattern"))
                .arg(switch("force").short('f').conflicts_with("quiet"))
                .arg(Arg::new("inputs").action(ArgAction::Append).default_value("in/")),
        )
        .subcommand(
            Command::new("run")
                .arg(jobs())
                .arg(value("output").default_value("all.pkl"))
                .arg(value("checkpoints").default_value("embeddings/"))
                .arg(value("rows").value_parser(value_parser!(u64)))
                .arg(value("pattern"))
                .arg(switch("sync-only").conflicts_with("merge-only"))
                .arg(switch("merge-only")),
        )
        .subcommand(
            Command::new("embed")
                .subcommand(Command::new("work").arg(value("redis").env("TOY_REDIS_URL")).arg(value("batch-size"))),
        )
}

fn settings(text: &str, variables: &[(&str, &str)]) -> Result<Settings, ConfigError> {
    let variable = |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value));
    Settings::gather(&toy(), Some(("t.toml", text)), variable)
}

/// The values of a flag of the verb that a command line names.
fn values(text: &str, variables: &[(&str, &str)], line: &str, id: &str) -> Vec<String> {
    let args: Vec<OsString> = format!("toy {line}").split_whitespace().map(OsString::from).collect();
    let matches = settings(text, variables).unwrap().matches(&toy(), &args).unwrap();
    let mut matches = &matches;
    while let Some((_, inner)) = matches.subcommand() {
        matches = inner;
    }
    let raw = matches.get_raw(id).into_iter().flatten();
    raw.map(|value| value.to_string_lossy().into_owned()).collect()
}

fn refused(text: &str, variables: &[(&str, &str)]) -> String {
    let error = settings(text, variables).err().unwrap();
    format!("{error}; {}", error.hint())
}

#[test]
fn flag_over_environment_over_file_over_default() {
    let file = "[sync]\njobs = 8";
    let variables = [("EMBSTORE_SYNC_JOBS", "16")];
    assert_eq!(values("", &[], "sync", "jobs"), ["4"]);
    assert_eq!(values(file, &[], "sync", "jobs"), ["8"]);
    assert_eq!(values(file, &variables, "sync", "jobs"), ["16"]);
    assert_eq!(values(file, &variables, "sync --jobs 32", "jobs"), ["32"]);
    assert_eq!(values(file, &[("EMBSTORE_SYNC_JOBS", "")], "sync", "jobs"), ["8"]);
}

#[test]
fn switches_go_both_ways() {
    let file = "[merge]\noutput = 'x'\nforce = true";
    assert_eq!(values(file, &[], "merge", "force"), ["true"]);
    assert_eq!(values(file, &[("EMBSTORE_MERGE_FORCE", "no")], "merge", "force"), ["false"]);
    assert_eq!(values(file, &[("EMBSTORE_MERGE_FORCE", "0")], "merge --force", "force"), ["true"]);
    assert_eq!(values(file, &[], "merge --force=false", "force"), ["false"]);
    assert_eq!(values("", &[], "merge -fo x", "force"), ["true"]);
    assert_eq!(values("", &[], "merge -o x --force a b", "inputs"), ["a", "b"]);
    assert_eq!(values("", &[], "-q merge -o x", "quiet"), ["true"]);
    assert_eq!(values("quiet = true", &[], "merge -o x", "quiet"), ["true"]);
    assert_eq!(values("quiet = true", &[], "--quiet=false merge -o x", "quiet"), ["false"]);
}

#[test]
fn lists_are_replaced_as_a_whole() {
    let file = "[sync]\nclusters = ['a', 'b']\n[merge]\noutput = 'o'\ninputs = 'one'";
    assert_eq!(values(file, &[], "sync", "clusters"), ["a", "b"]);
    assert_eq!(values(file, &[("EMBSTORE_SYNC_CLUSTERS", "c d")], "sync", "clusters"), ["c d"]);
    assert_eq!(values(file, &[("EMBSTORE_SYNC_CLUSTERS", "['c', 'd']")], "sync", "clusters"), ["c", "d"]);
    assert_eq!(values(file, &[("EMBSTORE_SYNC_CLUSTERS", "[cd]*")], "sync", "clusters"), ["[cd]*"]);
    assert_eq!(values(file, &[], "sync --clusters e", "clusters"), ["e"]);
    assert_eq!(values(file, &[], "merge", "inputs"), ["one"]);
}

#[test]
fn run_inherits() {
    let file = "[sync]\njobs = 8\noutput = 'here/'\npattern = 's'\n[merge]\nrows = 5\npattern = 'm'\n";
    assert_eq!(values(file, &[], "run", "jobs"), ["8"]);
    assert_eq!(values(file, &[], "run", "rows"), ["5"]);
    assert_eq!(values(file, &[], "run", "pattern"), ["s"]);
    assert_eq!(values(file, &[], "run", "output"), ["all.pkl"]);
    assert_eq!(values(file, &[], "run", "checkpoints"), ["here/"]);
    let file = "[merge]\noutput = 'm.npy'\nrows = 5\n[run]\nrows = 6\n";
    assert_eq!(values(file, &[], "run", "output"), ["m.npy"]);
    assert_eq!(values(file, &[], "run", "rows"), ["6"]);
}

#[test]
fn settings_yield_to_what_excludes_them() {
    let file = "[run]\nsync-only = true";
    assert_eq!(values(file, &[], "run --merge-only", "sync-only"), ["false"]);
    assert_eq!(values(file, &[], "run --merge-only=false", "sync-only"), ["true"]);
    assert_eq!(values(file, &[("EMBSTORE_RUN_MERGE_ONLY", "1")], "run", "sync-only"), ["false"]);
    let both = refused("[run]\nsync-only = true\nmerge-only = true", &[]);
    assert_eq!(both, "t.toml:2:1: [run] sync-only excludes t.toml:3:1: [run] merge-only; take one of them out");
    assert_eq!(values("[run]\nsync-only = true\nmerge-only = false", &[], "run", "sync-only"), ["true"]);
}

#[test]
fn nested_verbs_and_variables_of_their_own() {
    assert_eq!(values("[embed.work]\nbatch_size = 8", &[], "embed work", "batch-size"), ["8"]);
    assert_eq!(values("", &[("EMBSTORE_EMBED_WORK_BATCH_SIZE", "9")], "embed work", "batch-size"), ["9"]);
    assert_eq!(values("", &[("TOY_REDIS_URL", "redis://h")], "embed work", "redis"), ["redis://h"]);
    assert_eq!(values("", &[("EMBSTORE_EMBED_WORK_REDIS", "redis://h")], "embed work", "redis"), [""; 0]);
}

#[test]
fn mistakes_say_where_and_what() {
    for (text, expected) in [
        ("[sync]\njobs = = 3", "t.toml:2:8: is not TOML: "),
        ("[snyc]\njobs = 3", "t.toml:1:2: [snyc] is no verb; did you mean [sync]?"),
        ("[x]", "t.toml:1:2: [x] is no verb; sections are verbs: sync, merge, run, embed, embed.work"),
        ("[embed.walk]", "t.toml:1:8: [embed.walk] is no verb; did you mean [embed.work]?"),
        ("[sync]\njosb = 3", "t.toml:2:1: [sync] josb is no setting; did you mean jobs?"),
        ("[merge]\nf = true", "t.toml:2:1: [merge] f is no setting; did you mean force?"),
        ("jobs = 3", "t.toml:1:1: jobs is no setting; it is a setting of a verb: set it in [sync] or [run]"),
        ("[sync]\nquiet = true", "t.toml:2:1: [sync] quiet is no setting; quiet is shared by all verbs: set it at the"),
        ("sync = 3", "t.toml:1:1: [sync] is a number and should be a section; "),
        ("[merge]\nforce = 'yes'", "t.toml:2:1: [merge] force is a string and should be true or false; "),
        ("[merge]\nrows = true", "t.toml:2:1: [merge] rows is true or false and should be a string or a number; "),
        ("[merge]\nrows = [3]", "t.toml:2:1: [merge] rows is a list and should be a string or a number; "),
        ("[merge]\ninputs = ['a', [1]]", "t.toml:2:1: [merge] inputs is a list with something else and should be"),
        ("config = 'x'", "t.toml:1:1: config cannot be set in a file; the file is named on the command line"),
        ("[config]", "t.toml:1:2: [config] cannot be set in a file; this verb has no settings"),
        ("[sync]\njobs = 65", "t.toml:2:1: [sync] jobs = \"65\" is refused: 65 is not in 1..=64; embstore sync --help"),
        ("[merge]\nmax-rows = 1\nmax_rows = 2", "t.toml:2:1: [merge] max-rows is no setting; "),
        ("[embed.work]\nbatch-size = 1\nbatch_size = 2", "t.toml:3:1: [embed.work] batch_size is set twice; "),
    ] {
        let said = refused(text, &[]);
        assert!(said.starts_with(expected), "{text}\n{said}\n{expected}");
    }
    let said = refused("", &[("EMBSTORE_SYNC_JOBS", "many")]);
    assert!(said.starts_with("environment: EMBSTORE_SYNC_JOBS = \"many\" is refused: invalid digit"), "{said}");
    let said = refused("", &[("EMBSTORE_QUIET", "perhaps")]);
    assert!(said.contains("EMBSTORE_QUIET = \"perhaps\" is refused: it takes true or false"), "{said}");
}

#[test]
fn help_shows_what_is_set_but_no_password() {
    let said = |text: &str, line: &str| {
        let args: Vec<OsString> = format!("toy {line}").split_whitespace().map(OsString::from).collect();
        settings(text, &[]).unwrap().matches(&toy(), &args).unwrap_err().to_string()
    };
    let plain = said("", "merge --help");
    assert!(plain.contains("[default: all]") && !plain.contains("true|false"), "{plain}");
    let shown = said("[merge]\nrows = 250\nforce = true", "merge --help");
    assert!(shown.contains("[default: 250]") && !shown.contains("[default: all]"), "{shown}");
    assert!(shown.contains("--force[=<true|false>]"), "{shown}");
    let error = said("", "merge -o x --force --quiet");
    assert!(error.contains("'--force' cannot be used with '--quiet'"), "{error}");
    let secret = said("[embed.work]\nredis = 'redis://u:hidden@h'", "embed work --help");
    assert!(!secret.contains("hidden"), "{secret}");
}

#[test]
fn the_file_is_found_among_other_arguments() {
    let find = |line: &str| {
        let args: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        named(&args).map(|name| name.to_string_lossy().into_owned())
    };
    assert_eq!(find("toy merge -o x --nonsense --config a.toml"), Some("a.toml".into()));
    assert_eq!(find("toy --config=a.toml merge"), Some("a.toml".into()));
    assert_eq!(find("toy merge -- --config a.toml"), None);
    assert_eq!(find("toy merge --config"), None);
}
