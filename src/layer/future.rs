//! A response on its way: waited for, served, and given its headers; or a refusal.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use pin_project_lite::pin_project;
use tower_service::Service;

use super::Repeat;
use super::body::{LimitedBody, Owed};
use super::protocol::{Protocol, grpc_status};
use super::refusal;
use crate::limiter::{Admission, Limiter};

/// An admission that is waited for. In a box: it is known by no name, and who waits for a request
/// to end has the time.
pub(super) type Permitting = Pin<Box<dyn Future<Output = Box<Admission>> + Send>>;

pin_project! {
    /// The response of a [`Limited`](super::Limited) service.
    pub struct LimitedFuture<S, B>
    where
        S: Service<Request<B>>,
    {
        protocol: Protocol,
        #[pin]
        state: State<S, B, S::Future>,
    }
}

pin_project! {
    #[project = Projected]
    enum State<S, B, F> {
        Waiting {
            limiter: Limiter,
            permitting: Permitting,
            // Taken when the wait is over.
            next: Option<(S, Request<B>)>,
        },
        Serving {
            limiter: Limiter,
            // Taken with the response.
            admission: Option<Box<Admission>>,
            #[pin]
            served: F,
        },
        Refused {
            admission: Box<Admission>,
        },
    }
}

impl<S: Service<Request<B>>, B> LimitedFuture<S, B> {
    pub(super) fn serving(
        protocol: Protocol,
        limiter: Limiter,
        admission: Box<Admission>,
        served: S::Future,
    ) -> Self {
        let admission = Some(admission);
        Self {
            protocol,
            state: State::Serving {
                limiter,
                admission,
                served,
            },
        }
    }

    pub(super) fn refused(protocol: Protocol, admission: Box<Admission>) -> Self {
        Self {
            protocol,
            state: State::Refused { admission },
        }
    }

    pub(super) fn waiting(
        protocol: Protocol,
        limiter: Limiter,
        permitting: Permitting,
        ready: S,
        request: Request<B>,
    ) -> Self {
        Self {
            protocol,
            state: State::Waiting {
                limiter,
                permitting,
                next: Some((ready, request)),
            },
        }
    }
}

/// The service's response, with the headers of the limits, its body holding the permits.
fn serve<R>(
    protocol: Protocol,
    limiter: &Limiter,
    mut admission: Box<Admission>,
    mut response: Response<R>,
) -> Response<LimitedBody<R>> {
    let status = response.status().as_u16();
    let status = match protocol {
        Protocol::Http => Some(status),
        // That it is 200 says nothing of a call by gRPC: the end of the body tells.
        Protocol::Grpc(_) => grpc_status(response.headers()).or((status != 200).then_some(status)),
    };
    if let Some(status) = status {
        limiter.answered(admission.decision_mut(), status);
    }
    refusal::add_headers(&admission.decision().answer(), response.headers_mut());
    let running = admission.take_running();
    let is_owing = status.is_none() && limiter.awaits_status(admission.decision());
    let owed = is_owing.then(|| Owed {
        limiter: limiter.clone(),
        admission,
    });
    response.map(|body| LimitedBody::served(body, running, owed))
}

impl<S, B, R> Future for LimitedFuture<S, B>
where
    S: Service<Request<B>, Response = Response<R>>,
    R: Body<Data = Bytes>,
{
    type Output = Result<Response<LimitedBody<R>>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let (protocol, mut state) = (*this.protocol, this.state);
        loop {
            match state.as_mut().project() {
                Projected::Waiting {
                    limiter,
                    permitting,
                    next,
                } => {
                    let admission = ready!(permitting.as_mut().poll(cx));
                    let after = match next.take() {
                        Some((mut service, mut request)) if admission.is_allowed() => {
                            Repeat::mark(admission.decision(), request.extensions_mut());
                            let served = service.call(request);
                            State::Serving {
                                limiter: limiter.clone(),
                                admission: Some(admission),
                                served,
                            }
                        }
                        _ => State::Refused { admission },
                    };
                    state.set(after);
                }
                Projected::Serving {
                    limiter,
                    admission,
                    served,
                } => {
                    let response = ready!(served.poll(cx))?;
                    let Some(admission) = admission.take() else {
                        // A future that has answered is not polled again.
                        return Poll::Pending;
                    };
                    return Poll::Ready(Ok(serve(protocol, limiter, admission, response)));
                }
                Projected::Refused { admission } => {
                    let response = refusal::response(admission.decision(), protocol);
                    return Poll::Ready(Ok(response.map(LimitedBody::refused)));
                }
            }
        }
    }
}
