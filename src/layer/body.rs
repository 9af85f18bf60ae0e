//! A response's body that holds permits until it has ended, and looks for gRPC's status in it.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::protocol::grpc_status;
use crate::limiter::{Admission, Limiter, Running};

/// What may have to be given back once gRPC's status is known.
#[derive(Debug)]
pub(super) struct Owed {
    pub(super) limiter: Limiter,
    pub(super) admission: Box<Admission>,
}

impl Owed {
    fn settle(mut self, status: u16) {
        self.limiter.answered(self.admission.decision_mut(), status);
    }
}

pin_project! {
    /// A response's body: the service's own, holding the permits of its request until it has ended
    /// or is dropped, or that of a refusal.
    #[derive(Debug)]
    pub struct LimitedBody<B> {
        #[pin]
        kind: Kind<B>,
    }
}

pin_project! {
    #[project = Projected]
    #[derive(Debug)]
    enum Kind<B> {
        Served {
            #[pin]
            body: B,
            running: Running,
            // Until the status is known: without one, what was charged stays charged.
            owed: Option<Owed>,
        },
        Refused {
            // Nothing once it is sent.
            text: Option<Bytes>,
        },
    }
}

impl<B> LimitedBody<B> {
    pub(super) fn served(body: B, running: Running, owed: Option<Owed>) -> Self {
        Self {
            kind: Kind::Served {
                body,
                running,
                owed,
            },
        }
    }

    pub(super) fn refused(text: String) -> Self {
        let text = Some(Bytes::from(text)).filter(|text| !text.is_empty());
        Self {
            kind: Kind::Refused { text },
        }
    }
}

/// An empty one, as layers outside of this one need that answer by themselves, for CORS say.
impl<B> Default for LimitedBody<B> {
    fn default() -> Self {
        Self::refused(String::new())
    }
}

impl<B: Body<Data = Bytes>> Body for LimitedBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        match self.project().kind.project() {
            Projected::Served {
                body,
                running,
                owed,
            } => {
                let frame = ready!(body.poll_frame(cx));
                match &frame {
                    Some(Ok(frame)) => {
                        if let Some(status) = frame.trailers_ref().and_then(grpc_status)
                            && let Some(owed) = owed.take()
                        {
                            owed.settle(status);
                        }
                    }
                    None | Some(Err(_)) => *running = Running::default(),
                }
                Poll::Ready(frame)
            }
            Projected::Refused { text } => {
                Poll::Ready(text.take().map(|text| Ok(Frame::data(text))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Served { body, .. } => body.is_end_stream(),
            Kind::Refused { text } => text.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Served { body, .. } => body.size_hint(),
            Kind::Refused { text } => {
                let bytes = text.as_ref().map_or(0, Bytes::len);
                SizeHint::with_exact(bytes as u64)
            }
        }
    }
}
