//! The life of a submitted job, as its client sees it: submit, append, acknowledge; after a break, go on where it stopped.

use std::{future::Future, io::Write, time::Duration};

use fractally_proto::{JobKey, Limits, Message, Priority, Request, Submit};

use crate::{
    assemble::{AssembleError, Assembler},
    follow::{Begun, Event, Held, RenderError, Rendered, Source, check_layout, follow},
    session::Broker,
};

/// What is to be rendered and where.
#[derive(Clone, Debug)]
pub struct RenderOptions {
    /// The broker.
    pub broker: Broker,
    /// The idempotency key: the same key is the same job, also over a new connection.
    pub key: JobKey,
    /// What to draw.
    pub request: Request,
    /// Which jobs go first.
    pub priority: Priority,
    /// How long a broker that was connected once may stay away.
    pub reconnect_for: Duration,
}

/// Renders `options.request` into `out`. Ready `stop` cancels the job at the broker.
///
/// # Errors
/// [`RenderError`]; `out` then holds an incomplete file.
pub async fn render<W: Write>(
    options: &RenderOptions,
    out: W,
    on_event: impl FnMut(Event),
    stop: impl Future<Output = ()>,
) -> Result<Rendered<W>, RenderError> {
    let file = Assembler::begin(&options.request, out).map_err(AssembleError::from)?;
    follow(&options.broker, options.reconnect_for, Submission { options }, Some(file), on_event, stop).await
}

/// SUBMIT, answered by ACCEPTED or REFUSED.
struct Submission<'a> {
    options: &'a RenderOptions,
}

impl<W: Write> Source<W> for Submission<'_> {
    fn check(&self, limits: &Limits) -> Result<(), RenderError> {
        Ok(self.options.request.validate(limits)?)
    }

    fn question(&self, Held { have, engine, window_bytes }: Held) -> Message {
        let RenderOptions { key, priority, request, .. } = *self.options;
        Message::Submit(Submit { key, priority, have, engine, window_bytes, request_id: None, request })
    }

    fn answer(&mut self, message: &Message, file: &mut Option<Assembler<W>>) -> Result<Option<Begun>, RenderError> {
        match message {
            Message::Accepted(accepted) if accepted.key == self.options.key => {
                if let Some(file) = file {
                    check_layout(file.layout(), accepted.strips, accepted.rows_per_strip)?;
                }
                let (job, cached) = (accepted.job, accepted.cached);
                // A picture that was there already is everybody's.
                Ok(Some(Begun { job, is_ours: !cached, cached, event: Event::Accepted { job, cached } }))
            }
            Message::Refused(refused) if refused.key == self.options.key => Err(refused.refusal.clone().into()),
            _ => Ok(None),
        }
    }
}
