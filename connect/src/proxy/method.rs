//! The methods that the proxy treats in a way of their own. All others, known or not, are forwarded as they are.

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Method {
    /// Its response may have the driver's token.
    Config,
    /// Its response names a further session on the same driver.
    CloneSession,
    /// It ends the session.
    ReleaseSession,
    /// It needs a session that exists.
    OfSession,
    /// It may begin a session.
    Other,
}

impl Method {
    /// Returns the method of a path.
    pub(crate) fn of(path: &str) -> Self {
        match path.rsplit('/').next().unwrap_or_default() {
            "Config" => Self::Config,
            "CloneSession" => Self::CloneSession,
            "ReleaseSession" => Self::ReleaseSession,
            "ReattachExecute" | "ReleaseExecute" | "GetStatus" => Self::OfSession,
            _ => Self::Other,
        }
    }

    /// Returns whether a call without a session may begin one.
    pub(crate) fn begins_session(self) -> bool {
        matches!(self, Self::Config | Self::Other)
    }

    /// Returns whether the response is read before it is forwarded.
    pub(crate) fn reads_response(self) -> bool {
        matches!(self, Self::Config | Self::CloneSession | Self::ReleaseSession)
    }
}
