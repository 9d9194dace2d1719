//! Flags that exclude each other: settings yield to the command line, and the weaker setting to the stronger.

use std::cmp::Ordering;

use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command};

use super::error::ConfigError;
use super::flag::{self, Kind};
use super::{Setting, Settings};

impl Settings {
    /// Of two settings of a verb that exclude each other, the stronger one stays.
    pub(super) fn check_exclusive(&mut self, verb: &str, command: &Command) -> Result<(), ConfigError> {
        for arg in flag::settable(command) {
            for other in excluded_by(command, arg) {
                let (Some(one), Some(two)) = (self.get(verb, arg), self.get(verb, other)) else { continue };
                if !one.is_on(arg) || !two.is_on(other) {
                    continue;
                }
                let weaker = match one.origin.rank().cmp(&two.origin.rank()) {
                    Ordering::Less => arg,
                    Ordering::Greater => other,
                    Ordering::Equal => {
                        let (first, second) = (one.origin.clone(), two.origin.clone());
                        return Err(ConfigError::Exclusive { first, second });
                    }
                };
                let key = flag::key(weaker);
                self.set.remove(&(verb.to_owned(), key));
            }
        }
        Ok(())
    }

    /// The settings that a flag on the command line excludes.
    pub(super) fn yielding(&self, plain: &Command, matches: &ArgMatches) -> Vec<(String, String)> {
        if self.set.is_empty() {
            return Vec::new();
        }
        let built = built(plain);
        let (mut command, mut matches, mut verb) = (&built, matches, String::new());
        while let Some((name, inner)) = matches.subcommand() {
            let Some(found) = command.find_subcommand(name) else { break };
            verb = flag::below(&verb, found);
            (command, matches) = (found, inner);
        }
        let given = |arg: &&Arg| {
            let id = arg.get_id().as_str();
            let on = flag::kind(arg) != Kind::Switch || matches.get_flag(id);
            on && matches.value_source(id) == Some(ValueSource::CommandLine)
        };
        let excluded = command.get_arguments().filter(given).flat_map(|arg| excluded_by(command, arg));
        let excluded = excluded.map(|arg| (verb.clone(), flag::key(arg)));
        excluded.filter(|at| self.set.contains_key(at)).collect()
    }
}

impl Setting {
    /// Whether it says something: a switch that is off, or an empty list, does not.
    fn is_on(&self, arg: &Arg) -> bool {
        match flag::kind(arg) {
            Kind::Switch => self.values.iter().any(|value| value == "true"),
            _ => !self.values.is_empty(),
        }
    }
}

/// The command with the shared flags in every verb: only there does clap find the other side of a conflict.
pub(super) fn built(plain: &Command) -> Command {
    let mut command = plain.clone();
    command.build();
    command
}

/// The flags of a verb of a built command that exclude this one or are excluded by it.
fn excluded_by<'a>(command: &'a Command, arg: &Arg) -> Vec<&'a Arg> {
    let excludes = |one: &Arg, two: &Arg| {
        // Shared flags exclude nothing.
        !one.is_global_set() && command.get_arg_conflicts_with(one).iter().any(|arg| arg.get_id() == two.get_id())
    };
    let one_of = |other: &Arg| {
        let groups = command.get_groups().filter(|group| !(*group).clone().is_multiple());
        groups.into_iter().any(|group| [arg, other].iter().all(|arg| group.get_args().any(|id| id == arg.get_id())))
    };
    let others = command.get_arguments().filter(|other| other.get_id() != arg.get_id());
    others.filter(|other| excludes(arg, other) || excludes(other, arg) || one_of(other)).collect()
}
