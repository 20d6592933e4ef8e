//! Many asks at once, politely: every server within its budget, nothing asked twice, every outcome kept.

use futures_util::future::join_all;
use hoofbeat_observation::{Body, Measurement, Role, Service};
use hoofbeat_session::Exchange;

use crate::{Ask, Context, converse};

/// What one run brought.
#[derive(Debug, Default)]
pub struct Run {
    /// One measurement for each connection that was made or tried, in the order of the asks.
    pub measurements: Vec<Measurement>,
    /// What was not asked.
    pub not_run: Vec<(Ask, NotRun)>,
}

/// Why something was not asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotRun {
    /// The server has had as many connections as it may.
    #[error("this server has had its connections for one check")]
    BudgetSpent,
    /// The whole check's time is over.
    #[error("the time for the whole check is over")]
    OutOfTime,
}

/// What a person may be shown while waiting.
#[derive(Debug, Clone, Copy)]
pub enum Progress<'a> {
    /// A connection is about to be opened.
    Began(&'a Ask),
    /// A step ended.
    Step(&'a Ask, &'a Exchange),
    /// A connection is over and recorded.
    Ended(&'a Ask, &'a Measurement),
}

/// Asks everything, all services at the same time.
pub async fn run(
    asks: Vec<Ask>,
    context: &Context,
    progress: &(dyn Fn(Progress<'_>) + Sync),
) -> Run {
    context.trust.preload();
    let outcomes = join_all(asks.iter().map(|ask| one(ask, context, progress))).await;
    let mut run = Run::default();
    let mut asked = Vec::new();
    for (ask, outcome) in asks.into_iter().zip(outcomes) {
        match outcome {
            Ok(measurement) => {
                run.measurements.push(measurement);
                asked.push(ask);
            }
            Err(why) => run.not_run.push((ask, why)),
        }
    }
    settle(&asked, &mut run.measurements);
    run
}

async fn one(
    ask: &Ask,
    context: &Context,
    progress: &(dyn Fn(Progress<'_>) + Sync),
) -> Result<Measurement, NotRun> {
    let _permit = match address(&ask.service) {
        Some(address) => {
            let turn = context.budget.admit(address, &context.clock);
            let turn = tokio::time::timeout(context.time_left(), turn)
                .await
                .map_err(|_| NotRun::OutOfTime)?;
            Some(turn.map_err(|_| NotRun::BudgetSpent)?)
        }
        None => None,
    };
    if context.time_left().is_zero() {
        return Err(NotRun::OutOfTime);
    }
    progress(Progress::Began(ask));
    let measurement = converse::watched(ask, context, &|exchange| {
        progress(Progress::Step(ask, exchange))
    })
    .await;
    progress(Progress::Ended(ask, &measurement));
    Ok(measurement)
}

fn address(service: &Service) -> Option<std::net::SocketAddr> {
    service
        .address
        .map(|address| (address, service.port).into())
}

/// Tentative services that cannot be reached become siblings, unless nothing else is left to speak of.
fn settle(asks: &[Ask], measurements: &mut [Measurement]) {
    let is_target = |ask: &Ask| ask.role == Role::Target;
    let reached = |measurement: &Measurement| {
        measurement
            .dialogue()
            .is_some_and(|d| d.connect.established.is_some())
    };
    let something_else = asks
        .iter()
        .zip(measurements.iter())
        .any(|(ask, m)| is_target(ask) && (!ask.tentative || reached(m)));
    let mut spared = something_else;
    for (ask, measurement) in asks.iter().zip(measurements.iter_mut()) {
        if !is_target(ask) || !ask.tentative || reached(measurement) {
            continue;
        }
        // Where nothing at all was reached, the first one stands for the target.
        if !std::mem::replace(&mut spared, true) {
            continue;
        }
        if let Body::Dialogue(dialogue) = &mut measurement.body {
            dialogue.role = Role::Sibling;
        }
    }
}
