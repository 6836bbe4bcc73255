//! A body that is counted while it is sent, and holds its request's place until it is.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use axum::body::Body;
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};

use crate::{metrics::Metrics, turnstile::Pass};

/// See the module's words.
pub(crate) struct Counted {
    body: Body,
    metrics: Metrics,
    _pass: Pass,
}

impl Counted {
    pub(crate) fn body(body: Body, pass: Pass, metrics: Metrics) -> Body {
        Body::new(Self { body, metrics, _pass: pass })
    }
}

impl HttpBody for Counted {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &polled {
            self.metrics.on_bytes(frame.data_ref().map_or(0, Bytes::len));
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
