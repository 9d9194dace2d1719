//! Secrets are not shown.

const MASK: &str = "***";
const NAMES: [&str; 3] = ["password", "passphrase", "token"];

/// The value of a flag as it may be shown: without the password of a URL, and with nothing of a password itself.
pub(super) fn shown(key: &str, value: &str) -> String {
    // `token` is part of `tokenizer` and `max-tokens`, which are no secrets: whole words only.
    if key.split('-').any(|word| NAMES.contains(&word)) {
        return MASK.into();
    }
    let shown = url_without_password(value).unwrap_or_else(|| value.into());
    // The URL of a socket has no place for a login before the path.
    match shown.split_once("pass=") {
        Some((before, _)) if shown.starts_with("unix://") => format!("{before}pass={MASK}"),
        _ => shown,
    }
}

fn url_without_password(value: &str) -> Option<String> {
    let (scheme, rest) = value.split_once("://")?;
    // The last @: a password may hold one that was not escaped, and too much hidden is better than too little.
    let (login, host) = rest.rsplit_once('@')?;
    let (user, _) = login.split_once(':')?;
    Some(format!("{scheme}://{user}:{MASK}@{host}"))
}

#[cfg(test)]
mod tests {
    use super::shown;

    #[test]
    fn passwords_are_not_shown() {
        assert_eq!(shown("redis", "redis://user:pw@host:6379/0"), "redis://user:***@host:6379/0");
        assert_eq!(shown("redis", "redis://:p@ss/w@host"), "redis://:***@host");
        assert_eq!(shown("redis", "redis://user@host:6379"), "redis://user@host:6379");
        assert_eq!(shown("redis", "redis://host:6379"), "redis://host:6379");
        assert_eq!(shown("queue", "unix:///s?db=1&pass=pw"), "unix:///s?db=1&pass=***");
        assert_eq!(shown("redis-password", "pw"), "***");
        assert_eq!(shown("passphrase", "pw"), "***");
        assert_eq!(shown("hub-token", "pw"), "***");
        assert_eq!(shown("max-tokens", "512"), "512");
        assert_eq!(shown("model", "a/b"), "a/b");
    }
}
