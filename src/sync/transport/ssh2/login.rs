//! Logging in: the key that is named, the password, the same password where the server asks for it in a dialogue; and
//! where there is neither, the agent's keys and those in `~/.ssh`.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use secrecy::ExposeSecret;
use ssh2::{KeyboardInteractivePrompt, Prompt, Session};

use super::super::ConnectError;
use super::failure::Failure;
use super::key::{self, Kind};
use crate::sync::credentials::Secret;
use crate::sync::host::Host;

/// # Errors
/// Why the user may not log in, and what was tried.
pub(super) fn log_in(host: &Host, session: &Session) -> Result<(), ConnectError> {
    let mut login = Login { host, session, tried: Vec::new(), passed_over: Vec::new() };
    let mut ways = login.ways()?;
    let first = login.offered()?;
    let mut offered = first.clone();
    while !session.authenticated() {
        let at = ways.iter().position(|way| offered.iter().any(|method| method == way.method()));
        let Some(way) = at.and_then(|at| ways.remove(at)) else {
            return Err(login.refused(&first, &offered));
        };
        if login.attempt(&way)? {
            break;
        }
        // What a dialogue would ask for is the password that has just been refused, or accepted and something else.
        if way.uses_password() {
            ways.retain(|way| !way.uses_password());
        }
        // A server that wants several proofs offers the next one once it has the first. To ask counts as an attempt,
        // of which servers allow about six.
        if ways.front().is_none_or(|next| next.method() != way.method()) {
            offered = login.offered()?;
        }
    }
    Ok(())
}

/// One attempt.
enum Way {
    Key(PathBuf),
    Agent(Rc<ssh2::Agent>, ssh2::PublicKey),
    Password(Secret),
    Dialogue(Secret),
}

impl Way {
    /// The method of which it is one.
    fn method(&self) -> &'static str {
        match self {
            Way::Key(_) | Way::Agent(..) => "publickey",
            Way::Password(_) => "password",
            Way::Dialogue(_) => "keyboard-interactive",
        }
    }

    fn uses_password(&self) -> bool {
        matches!(self, Way::Password(_) | Way::Dialogue(_))
    }

    /// For a message.
    fn describe(&self) -> String {
        match self {
            Way::Key(path) => format!("key {}", path.display()),
            Way::Agent(..) => "a key of the agent".into(),
            Way::Password(_) => "password".into(),
            Way::Dialogue(_) => "password, in a dialogue".into(),
        }
    }
}

struct Login<'a> {
    host: &'a Host,
    session: &'a Session,
    /// Refused so far.
    tried: Vec<String>,
    /// Keys that could not be tried, and why.
    passed_over: Vec<String>,
}

impl Login<'_> {
    /// All that the credentials allow, in the order in which it is tried.
    fn ways(&mut self) -> Result<VecDeque<Way>, ConnectError> {
        let mut ways = VecDeque::new();
        if let Some(path) = &self.host.identity_file {
            self.check(path)?;
            ways.push_back(Way::Key(path.clone()));
        }
        if let Some(password) = &self.host.password {
            ways.push_back(Way::Password(password.clone()));
            ways.push_back(Way::Dialogue(password.clone()));
        }
        if ways.is_empty() {
            ways.extend(self.of_agent());
            for path in &self.host.default_keys {
                match self.check(path) {
                    Ok(()) => ways.push_back(Way::Key(path.clone())),
                    Err(ConnectError::Key { reason, .. } | ConnectError::Unsupported { what: reason, .. }) => {
                        self.passed_over.push(format!("{} ({reason})", path.display()));
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(ways)
    }

    fn check(&self, path: &Path) -> Result<(), ConnectError> {
        let unusable = |reason: String| ConnectError::Key { path: path.into(), reason };
        match key::kind(path).map_err(unusable)? {
            Kind::Encrypted if self.host.passphrase.is_none() => {
                Err(unusable("it has a passphrase, and the credentials do not".into()))
            }
            Kind::Hardware => {
                let what = format!("{} needs its hardware, which ssh2 cannot use", path.display());
                Err(ConnectError::Unsupported { address: self.host.display(), what })
            }
            Kind::Plain | Kind::Encrypted => Ok(()),
        }
    }

    /// Where no agent runs, it has no keys.
    fn of_agent(&self) -> Vec<Way> {
        let keys = || {
            let mut agent = self.session.agent()?;
            agent.connect()?;
            agent.list_identities()?;
            let keys = agent.identities()?;
            let agent = Rc::new(agent);
            Ok(keys.into_iter().map(|key| Way::Agent(Rc::clone(&agent), key)).collect())
        };
        keys().unwrap_or_else(|_: ssh2::Error| Vec::new())
    }

    /// What the server offers by now; nothing once it has let the user in.
    fn offered(&self) -> Result<Vec<String>, ConnectError> {
        // ssh2 panics where the list is no text.
        let methods = catch_unwind(AssertUnwindSafe(|| {
            self.session.auth_methods(&self.host.username).map(|methods| methods.split(',').map(String::from).collect())
        }));
        match methods {
            Ok(Ok(methods)) => Ok(methods),
            Ok(Err(_)) if self.session.authenticated() => Ok(Vec::new()),
            Ok(Err(error)) => Err(Failure::of(&error).connecting(self.host, &error)),
            Err(_) => {
                let reason = "its list of ways to log in is no text".into();
                Err(ConnectError::Handshake { address: self.host.display(), reason })
            }
        }
    }

    /// Whether the user is in. A refusal is noted, and no error.
    fn attempt(&mut self, way: &Way) -> Result<bool, ConnectError> {
        let (session, username) = (self.session, &self.host.username);
        let result = match way {
            Way::Key(path) => {
                let passphrase = self.host.passphrase.as_ref().map(ExposeSecret::expose_secret);
                session.userauth_pubkey_file(username, None, path, passphrase)
            }
            Way::Agent(agent, key) => agent.userauth(username, key),
            Way::Password(password) => session.userauth_password(username, password.expose_secret()),
            Way::Dialogue(password) => {
                session.userauth_keyboard_interactive(username, &mut Answers { password: Some(password) })
            }
        };
        let Err(error) = result else { return Ok(true) };
        match (Failure::of(&error), way) {
            (Failure::Refused, _) => self.tried.push(way.describe()),
            // A server that has had enough hangs up; not known to be transient, or a password would be tried again.
            (Failure::Lost, _) => {
                self.tried.push(format!("{}, whereupon the server hung up", way.describe()));
                return Err(self.login_refused());
            }
            (Failure::Key | Failure::Other, Way::Key(path)) if self.host.identity_file.as_ref() == Some(path) => {
                return Err(ConnectError::Key { path: path.clone(), reason: unreadable(path, &error) });
            }
            (Failure::Key | Failure::Other, Way::Key(path)) => {
                self.passed_over.push(format!("{} ({})", path.display(), unreadable(path, &error)));
            }
            (failure, Way::Agent(..)) if failure != Failure::TimedOut => self.tried.push(way.describe()),
            (failure, _) => return Err(failure.connecting(self.host, &error)),
        }
        Ok(false)
    }

    fn login_refused(&self) -> ConnectError {
        let mut tried = self.tried.clone();
        // The keys of an agent have no names.
        tried.dedup();
        tried.extend(self.passed_over.iter().map(|passed_over| format!("not {passed_over}")));
        ConnectError::LoginRefused {
            address: self.host.display(),
            username: self.host.username.clone(),
            tried: tried.join(", "),
        }
    }

    /// Nothing is left to try.
    fn refused(&self, first: &[String], offered: &[String]) -> ConnectError {
        if !self.tried.is_empty() && first == offered {
            return self.login_refused();
        }
        let mut have = Vec::new();
        if !self.tried.is_empty() {
            have.push("nothing beyond what it has taken already".to_owned());
        } else if self.host.password.is_some() {
            have.push("a password".into());
        }
        if self.tried.is_empty() && self.host.identity_file.is_some() {
            have.push("an identity_file".into());
        }
        if have.is_empty() {
            have.push("neither a password nor a key".into());
        }
        have.extend(self.passed_over.iter().map(|passed_over| format!("not {passed_over}")));
        ConnectError::NoWayIn {
            address: self.host.display(),
            username: self.host.username.clone(),
            offered: offered.join(", "),
            have: have.join(", "),
        }
    }
}

/// libssh2 says the same of a wrong passphrase and of a format that it does not know.
fn unreadable(path: &Path, error: &ssh2::Error) -> String {
    match key::kind(path) {
        Ok(Kind::Encrypted) => "the passphrase is wrong".into(),
        _ => format!("ssh2 cannot read it ({})", error.message()),
    }
}

/// The password answers the first question that hides what is typed; nothing else is known.
struct Answers<'a> {
    password: Option<&'a Secret>,
}

impl KeyboardInteractivePrompt for Answers<'_> {
    fn prompt<'a>(&mut self, _username: &str, _instructions: &str, prompts: &[Prompt<'a>]) -> Vec<String> {
        let answer = |prompt: &Prompt<'a>| {
            let password = if prompt.echo { None } else { self.password.take() };
            password.map(|password| password.expose_secret().to_owned()).unwrap_or_default()
        };
        prompts.iter().map(answer).collect()
    }
}
