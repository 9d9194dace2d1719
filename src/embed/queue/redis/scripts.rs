//! The scripts, and the keys that they work on.

use redis::{Script, ScriptInvocation};

/// The scripts of one queue.
pub(super) struct Scripts {
    keys: Vec<String>,
    pub(super) claim: Script,
    pub(super) heartbeat: Script,
    pub(super) settle: Script,
    pub(super) push: Script,
    pub(super) retry: Script,
    pub(super) status: Script,
}

macro_rules! script {
    ($name:literal) => {
        Script::new(concat!(include_str!("lua/common.lua"), include_str!(concat!("lua/", $name, ".lua"))))
    };
}

impl Scripts {
    pub(super) fn new(name: &str) -> Self {
        let beside = ["leases", "claims", "tokens", "tries", "dead", "totals", "recent", "pushed"];
        let keys = std::iter::once(name.into()).chain(beside.map(|key| format!("{{{name}}}:{key}"))).collect();
        Scripts {
            keys,
            claim: script!("claim"),
            heartbeat: script!("heartbeat"),
            settle: script!("settle"),
            push: script!("push"),
            retry: script!("retry"),
            status: script!("status"),
        }
    }

    /// A call of one of them, with its keys.
    pub(super) fn on<'a>(&self, script: &'a Script) -> ScriptInvocation<'a> {
        let mut call = script.prepare_invoke();
        call.key(&self.keys);
        call
    }

    /// Where it is kept that the lease of this token has been settled.
    pub(super) fn settled(&self, token: &str) -> String {
        format!("{{{}}}:settled:{token}", self.list())
    }

    pub(super) fn list(&self) -> &str {
        &self.keys[0]
    }

    pub(super) fn leases(&self) -> &str {
        &self.keys[1]
    }

    pub(super) fn dead(&self) -> &str {
        &self.keys[5]
    }

    pub(super) fn pushed(&self) -> &str {
        &self.keys[8]
    }
}
