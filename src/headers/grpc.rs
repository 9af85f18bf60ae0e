//! Refusals in gRPC's terms, and gRPC's statuses in those of HTTP.
//!
//! Sources: the status codes of gRPC and the HTTP statuses that `google.rpc.Code` gives them; the
//! pushback of gRFC A6, "gRPC Retry Design".

use super::Answer;
use crate::policy::RefusalKind;

/// gRPC's statuses, and the HTTP status that each stands for. Where several stand for one, the
/// first is meant by it.
const CODES: [(u8, u16); 17] = [
    (0, 200),
    (1, 499),
    (13, 500),
    (2, 500),
    (15, 500),
    (3, 400),
    (9, 400),
    (11, 400),
    (4, 504),
    (5, 404),
    (10, 409),
    (6, 409),
    (7, 403),
    (8, 429),
    (12, 501),
    (14, 503),
    (16, 401),
];

/// The HTTP status that a status of gRPC stands for; that of `UNKNOWN` for one that is none.
#[cfg(feature = "tower")]
pub(crate) fn http_status(code: Option<u8>) -> u16 {
    let found = CODES.iter().find(|(known, _)| Some(*known) == code);
    found.map_or(500, |(_, status)| *status)
}

impl Answer<'_> {
    /// The gRPC status of a refusal; none if the service is to answer itself.
    ///
    /// It is 8 (`RESOURCE_EXHAUSTED`) where waiting helps; 3 (`INVALID_ARGUMENT`) where it does
    /// not, or 7 (`PERMISSION_DENIED`) where nothing is admitted at all; 14 (`UNAVAILABLE`) where
    /// it is the limiter that cannot. A `status` of the policy's own becomes the code that stands
    /// for it, if one does.
    pub fn grpc_status(&self) -> Option<u8> {
        let (kind, _) = self.refusal?;
        let status = self.status()?;
        let found = CODES.iter().find(|(_, known)| *known == status);
        Some(match (found, kind) {
            (Some((code, _)), _) => *code,
            (None, RefusalKind::Limited) => 8,
            (None, RefusalKind::Impossible) => 3,
            (None, RefusalKind::Unavailable) => 14,
        })
    }

    /// What `grpc-retry-pushback-ms` is to tell a client of gRPC that tries again by itself: how
    /// many milliseconds to wait first, or -1 not to; nothing where it is as well to go by its own
    /// times.
    pub fn grpc_pushback_ms(&self) -> Option<i32> {
        let (kind, _) = self.refusal?;
        if kind == RefusalKind::Impossible {
            return Some(-1);
        }
        let millis = self.facts.retry_after?.saturating_mul(1_000);
        // Nobody waits for longer than the field can say.
        Some(i32::try_from(millis).unwrap_or(-1))
    }
}
