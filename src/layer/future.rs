//! A response on its way: waited for, served, and given its headers; or a refusal.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use pin_project_lite::pin_project;
use tower_service::Service;

use super::body::LimitedBody;
use super::refusal;
use crate::limiter::{Admission, Limiter, Running};

/// An admission that is waited for. In a box: it is known by no name, and who waits for a request
/// to end has the time.
pub(super) type Permitting = Pin<Box<dyn Future<Output = Box<Admission>> + Send>>;

pin_project! {
    /// The response of a [`Limited`](super::Limited) service.
    pub struct LimitedFuture<S, B>
    where
        S: Service<Request<B>>,
    {
        #[pin]
        state: State<S, B, S::Future>,
    }
}

pin_project! {
    #[project = Projected]
    enum State<S, B, F> {
        Free {
            #[pin]
            served: F,
        },
        Waiting {
            limiter: Limiter,
            permitting: Permitting,
            // Taken when the wait is over.
            next: Option<(S, Request<B>)>,
            is_grpc: bool,
        },
        Serving {
            limiter: Limiter,
            admission: Box<Admission>,
            #[pin]
            served: F,
        },
        Refused {
            admission: Box<Admission>,
            is_grpc: bool,
        },
    }
}

impl<S: Service<Request<B>>, B> LimitedFuture<S, B> {
    pub(super) fn free(served: S::Future) -> Self {
        Self {
            state: State::Free { served },
        }
    }

    pub(super) fn serving(limiter: Limiter, admission: Box<Admission>, served: S::Future) -> Self {
        Self {
            state: State::Serving {
                limiter,
                admission,
                served,
            },
        }
    }

    pub(super) fn refused(admission: Box<Admission>, is_grpc: bool) -> Self {
        Self {
            state: State::Refused { admission, is_grpc },
        }
    }

    pub(super) fn waiting(
        limiter: Limiter,
        permitting: Permitting,
        ready: S,
        request: Request<B>,
        is_grpc: bool,
    ) -> Self {
        Self {
            state: State::Waiting {
                limiter,
                permitting,
                next: Some((ready, request)),
                is_grpc,
            },
        }
    }
}

impl<S, B, R> Future for LimitedFuture<S, B>
where
    S: Service<Request<B>, Response = Response<R>>,
    R: Body<Data = Bytes>,
{
    type Output = Result<Response<LimitedBody<R>>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        loop {
            match state.as_mut().project() {
                Projected::Free { served } => {
                    let response = ready!(served.poll(cx))?;
                    let free = |body| LimitedBody::served(body, Running::default());
                    return Poll::Ready(Ok(response.map(free)));
                }
                Projected::Waiting {
                    limiter,
                    permitting,
                    next,
                    is_grpc,
                } => {
                    let admission = ready!(permitting.as_mut().poll(cx));
                    let after = match next.take() {
                        Some((mut service, request)) if admission.is_allowed() => {
                            let served = service.call(request);
                            State::Serving {
                                limiter: limiter.clone(),
                                admission,
                                served,
                            }
                        }
                        _ => State::Refused {
                            admission,
                            is_grpc: *is_grpc,
                        },
                    };
                    state.set(after);
                }
                Projected::Serving {
                    limiter,
                    admission,
                    served,
                } => {
                    let mut response = ready!(served.poll(cx))?;
                    let decision = admission.decision_mut();
                    limiter.answered(decision, response.status().as_u16());
                    refusal::add_headers(&decision.answer(), response.headers_mut());
                    let running = admission.take_running();
                    let serve = |body| LimitedBody::served(body, running);
                    return Poll::Ready(Ok(response.map(serve)));
                }
                Projected::Refused { admission, is_grpc } => {
                    let response = refusal::response(admission.decision(), *is_grpc);
                    return Poll::Ready(Ok(response.map(LimitedBody::refused)));
                }
            }
        }
    }
}
