//! What can go wrong, by exit code.

/// Something that went wrong and has an exit code of its own. Everything else ends with 1.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Failure {
    /// It could be done and did not come out well: 1.
    Failed(String),
    /// What was asked for can not be asked for like this: 2.
    Usage(String),
    /// There is no such thing: 3.
    NotFound(String),
    /// The server did not answer: 4.
    Unreachable(String),
    /// The server answered no: 5.
    Refused(String),
    /// Content was refused: 6.
    Content(String),
    /// The audit was changed, or is not the one that is trusted: 7.
    Audit(String),
    /// The end of the audit is not sealed: 8.
    Unsealed(String),
}

impl std::error::Error for Failure {}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Failure::Failed(text)
            | Failure::Usage(text)
            | Failure::NotFound(text)
            | Failure::Unreachable(text)
            | Failure::Refused(text)
            | Failure::Content(text)
            | Failure::Audit(text)
            | Failure::Unsealed(text) => f.write_str(text),
        }
    }
}

impl Failure {
    /// The exit code, as the help says it.
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        match self {
            Failure::Failed(_) => 1,
            Failure::Usage(_) => 2,
            Failure::NotFound(_) => 3,
            Failure::Unreachable(_) => 4,
            Failure::Refused(_) => 5,
            Failure::Content(_) => 6,
            Failure::Audit(_) => 7,
            Failure::Unsealed(_) => 8,
        }
    }
}

/// The exit code of an error: that of the failure in it, or 1.
pub fn exit_code(error: &anyhow::Error) -> u8 {
    error.chain().find_map(|cause| cause.downcast_ref::<Failure>()).map_or(1, Failure::exit_code)
}

/// Whether it is only that nobody reads our output any more.
pub fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let broken = |e: &std::io::Error| e.kind() == std::io::ErrorKind::BrokenPipe;
    error.chain().filter_map(|cause| cause.downcast_ref()).any(broken)
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;

    #[test]
    fn each_failure_has_its_code_however_deep_it_lies() {
        let codes = [
            (Failure::Failed(String::new()), 1),
            (Failure::Usage(String::new()), 2),
            (Failure::NotFound(String::new()), 3),
            (Failure::Unreachable(String::new()), 4),
            (Failure::Refused(String::new()), 5),
            (Failure::Content(String::new()), 6),
            (Failure::Audit(String::new()), 7),
            (Failure::Unsealed(String::new()), 8),
        ];
        for (failure, code) in codes {
            let deep = Err::<(), _>(failure).context("a").context("b").unwrap_err();
            assert_eq!(exit_code(&deep), code);
        }
        assert_eq!(exit_code(&anyhow::anyhow!("anything else")), 1);
    }

    #[test]
    fn a_closed_pipe_is_told_from_a_lost_connection() {
        let io = |kind| Err::<(), _>(std::io::Error::from(kind)).context("writing").unwrap_err();
        assert!(is_broken_pipe(&io(std::io::ErrorKind::BrokenPipe)));
        assert!(!is_broken_pipe(&io(std::io::ErrorKind::ConnectionRefused)));
        assert!(!is_broken_pipe(&Failure::Unreachable("broken pipe".into()).into()));
    }
}
