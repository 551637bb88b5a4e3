//! Classifies what ends a session, by the code and the text of the broker: whether waiting can help.

use lapin::ErrorKind;

use super::address::Address;

/// AMQP's code for a queue or an exchange that does not exist.
const NOT_FOUND: u16 = 404;
/// AMQP's code for the removal, with `if-unused`, of an exchange that has bindings.
const PRECONDITION_FAILED: u16 = 406;

/// Whether an error says that something does not exist; it closes the channel only, not the session.
pub(super) fn is_missing(error: &lapin::Error) -> bool {
    is_answer(error, NOT_FOUND)
}

/// Whether an error says that something is in use; as for [`is_missing`], it closes the channel only.
pub(super) fn is_in_use(error: &lapin::Error) -> bool {
    is_answer(error, PRECONDITION_FAILED)
}

fn is_answer(error: &lapin::Error, code: u16) -> bool {
    matches!(error.kind(), ErrorKind::ProtocolError(reason) if reason.get_id() == code)
}

/// Why a session could not begin, or ended. Each sentence quotes the broker's own, if there is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// Waiting may help.
    Away(String),
    /// Only a change at the broker helps: final once it lasts.
    Refused(String),
    /// User and password are refused, or cannot be read: final once it lasts, since new ones may be on their way.
    Login(String),
    /// Waiting cannot help.
    Never(String),
    /// The broker closed the channel because of a published message.
    Message(String),
}

impl Failure {
    /// Classifies an error of lapin.
    pub(super) fn of(error: &lapin::Error) -> Self {
        match error.kind() {
            ErrorKind::ProtocolError(reason) => {
                let said = reason.get_message();
                match reason.get_id() {
                    // access refused, resource locked, not allowed
                    403 | 405 | 530 => Self::Refused(format!("the broker refuses it: {said}")),
                    _ => Self::Away(said.to_string()),
                }
            }
            ErrorKind::ChannelsLimitReached => Self::Refused(
                "the broker allows too few channels on a connection for this program (channel_max)"
                    .to_owned(),
            ),
            ErrorKind::IOError(reason) if reason.kind() == std::io::ErrorKind::InvalidData => {
                Self::Refused(format!("no secure connection: {reason}"))
            }
            ErrorKind::InvalidProtocolVersion(_) | ErrorKind::ParsingError(_) => {
                Self::Refused("what answers there does not speak AMQP 0.9.1".to_owned())
            }
            _ => Self::Away(error.to_string()),
        }
    }

    /// Classifies an error of declaring `what`.
    pub(super) fn declaring(what: &str, error: &lapin::Error) -> Self {
        match error.kind() {
            // only the text distinguishes other arguments from a limit of the broker: both are 406
            ErrorKind::ProtocolError(reason) if reason.get_id() == 406 => {
                let said = reason.get_message();
                if said.as_str().contains("inequivalent arg") {
                    Self::Never(format!(
                        "{what} exists with other arguments than ours, remove it or name another prefix: {said}"
                    ))
                } else {
                    Self::Refused(format!("{what} cannot be declared: {said}"))
                }
            }
            _ => Self::of(error),
        }
    }

    /// Classifies an error of publishing.
    pub(super) fn publishing(error: &lapin::Error) -> Self {
        match error.kind() {
            // precondition failed (a message too large), frame error, syntax error, unexpected frame
            ErrorKind::ProtocolError(reason)
                if matches!(reason.get_id(), 406 | 501 | 502 | 505) =>
            {
                Self::Message(reason.get_message().to_string())
            }
            _ => Self::of(error),
        }
    }

    /// Classifies an error of logging in.
    pub(super) fn greeting(error: &lapin::Error) -> Self {
        let ErrorKind::ProtocolError(reason) = error.kind() else {
            return Self::of(error);
        };
        let said = reason.get_message().as_str();
        match reason.get_id() {
            403 => Self::Login(format!("wrong user or password: {said}")),
            // 530: the virtual host does not exist, denies this user, or has reached a limit
            530 if said.contains("limit") => {
                Self::Refused(format!("a limit of the broker is reached: {said}"))
            }
            530 if said.contains("not found") => {
                Self::Refused(format!("no such virtual host: {said}"))
            }
            530 => Self::Refused(format!("this user may not use the virtual host: {said}")),
            _ => Self::of(error),
        }
    }

    pub(super) fn at(self, address: &Address) -> Self {
        let at = |why| format!("{address}: {why}");
        match self {
            Self::Away(why) => Self::Away(at(why)),
            Self::Refused(why) => Self::Refused(at(why)),
            Self::Login(why) => Self::Login(at(why)),
            Self::Never(why) => Self::Never(at(why)),
            Self::Message(why) => Self::Message(at(why)),
        }
    }

    pub(super) fn why(&self) -> &str {
        let (Self::Away(why)
        | Self::Refused(why)
        | Self::Login(why)
        | Self::Never(why)
        | Self::Message(why)) = self;
        why
    }
}

impl From<lapin::Error> for Failure {
    fn from(error: lapin::Error) -> Self {
        Self::of(&error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_broker_says_is_passed_on_and_tells_apart_what_its_code_does_not() {
        let said = |code: u16, text: &str| {
            let error = lapin::protocol::AMQPError::from_id(code, text.into());
            lapin::Error::from(ErrorKind::ProtocolError(error.expect("a code of AMQP")))
        };
        let limit = "NOT_ALLOWED - access to vhost 'v' refused for user 'u': connection limit (1) is reached";
        let greetings = [
            (
                403,
                "ACCESS_REFUSED - Login was refused",
                "wrong user or password: ",
            ),
            (530, limit, "a limit of the broker is reached: "),
            (
                530,
                "NOT_ALLOWED - vhost v not found",
                "no such virtual host: ",
            ),
            (
                530,
                "NOT_ALLOWED - access to vhost 'v' refused for user 'u'",
                "this user may not use the virtual host: ",
            ),
            (541, "INTERNAL_ERROR - vhost 'v' is down", ""),
        ];
        for (code, text, ours) in greetings {
            let failure = Failure::greeting(&said(code, text));
            assert_eq!(failure.why(), format!("{ours}{text}"));
        }
        let limit = "PRECONDITION_FAILED - cannot declare queue 'q': queue limit in vhost 'v' (2) is reached";
        let failure = Failure::declaring("q", &said(406, limit));
        assert_eq!(
            failure,
            Failure::Refused(format!("q cannot be declared: {limit}"))
        );
        let other = "PRECONDITION_FAILED - inequivalent arg 'x-queue-type' for queue 'q'";
        let failure = Failure::declaring("q", &said(406, other));
        assert!(matches!(failure, Failure::Never(why) if why.ends_with(other)));
        let locked = "RESOURCE_LOCKED - cannot obtain exclusive access to locked queue 'q'";
        let failure = Failure::declaring("q", &said(405, locked));
        assert!(matches!(failure, Failure::Refused(why) if why.ends_with(locked)));
        let large =
            "PRECONDITION_FAILED - message size 2000 is larger than configured max size 1500";
        let failure = Failure::publishing(&said(406, large));
        assert_eq!(failure, Failure::Message(large.to_owned()));
        let gone = "NOT_FOUND - no exchange 'x.results' in vhost '/'";
        let failure = Failure::publishing(&said(404, gone));
        assert_eq!(failure, Failure::Away(gone.to_owned()));
    }
}
