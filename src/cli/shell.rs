//! Completions for shells, and the manual page.

use std::io::{self, Write};

use clap::{Args, Command};
use clap_complete::Shell;

use super::{Failure, command};

/// Print completions for a shell.
#[derive(Args)]
#[command(after_help = "Example:\n  embstore completions bash > ~/.local/share/bash-completion/completions/embstore")]
pub(super) struct CompletionsArgs {
    /// The shell
    shell: Shell,
}

/// Print the manual page.
#[derive(Args)]
#[command(after_help = "Example:\n  embstore man > ~/.local/share/man/man1/embstore.1")]
pub(super) struct ManArgs {}

impl CompletionsArgs {
    pub(super) fn run(&self) -> Result<(), Failure> {
        // Into memory first: the generator panics where it cannot write, on a closed pipe for one.
        let mut text = Vec::new();
        clap_complete::generate(self.shell, &mut command(), "embstore", &mut text);
        Ok(io::stdout().write_all(&text)?)
    }
}

impl ManArgs {
    pub(super) fn run(&self) -> Result<(), Failure> {
        let mut command = command();
        command.build();
        let mut text = Vec::new();
        clap_mangen::Man::new(command.clone()).render(&mut text)?;
        pages_below(&command, "embstore", &mut text)?;
        Ok(io::stdout().write_all(&text)?)
    }
}

/// The pages of the verbs of a command, and of the verbs below them.
fn pages_below(command: &Command, name: &str, text: &mut Vec<u8>) -> io::Result<()> {
    for verb in command.get_subcommands().filter(|verb| verb.get_name() != "help") {
        let name = format!("{name}-{}", verb.get_name());
        clap_mangen::Man::new(verb.clone().name(name.clone())).render(text)?;
        pages_below(verb, &name, text)?;
    }
    Ok(())
}
