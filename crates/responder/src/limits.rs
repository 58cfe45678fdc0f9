//! Every bound of the responder, with how its number was found.

use std::time::Duration;

// ---- Messages, requests and commands: what talks to other systems ----

/// Most characters of a message; the rest is cut off and the cut is shown. Slack takes 3,000 in one block, and a
/// message that no phone shows whole is read by nobody.
pub const MESSAGE_CHARS_MAX: usize = 2_000;

/// Most characters of a title: a subject line that mail programs show, and below Slack's 150 for a header.
pub const TITLE_CHARS_MAX: usize = 120;

/// Most bytes of one of Slack's texts once it is escaped; Slack refuses a block of more than 3,000 characters.
pub const SLACK_BYTES_MAX: usize = 2_900;

/// Most bytes of a link to answer by: what every browser and proxy takes.
pub const LINK_BYTES_MAX: usize = 2_048;

/// How long a question to one person may take to send. Approvers are told one after the other, and a question
/// stands open for minutes.
pub const ASK_TIME: Duration = Duration::from_secs(10);

/// Most bytes of a file that a secret or a URL is taken from.
pub const SECRET_BYTES_MAX: u64 = 4_096;

/// Fewest bytes of a key that webhooks are signed with: half of what HMAC-SHA256 can use (RFC 2104, section 3).
pub const KEY_BYTES_MIN: usize = 16;

/// Most bytes of a file with certificates: some hundred of them.
pub const CERTIFICATE_BYTES_MAX: u64 = 1_048_576;

/// Most bytes of a request's body; a playbook's whole file is no longer.
pub const BODY_BYTES_MAX: usize = 65_536;

/// Most bytes of an answer's status line and header. What follows is not read.
pub const ANSWER_BYTES_MAX: usize = 65_536;

/// Most files that remember what was sent. Each is needed until its order's receipt is in the log, some minutes at
/// most; at the 300 bytes of one this is 3 MB.
pub const SENT_FILES_MAX: usize = 10_000;

/// How long a connection to another host may take to come up. A host that is up answers within a round trip; this
/// leaves room for two lost packets.
pub const CONNECT_TIME: Duration = Duration::from_secs(10);

/// Most bytes that are kept of what a command says; the rest is read and thrown away, for a command that can not
/// write does not end.
pub const OUTPUT_BYTES_MAX: u64 = 16_384;

/// Most characters of a command's or a server's words in a receipt or an error.
pub const WORDS_CHARS_MAX: usize = 300;
