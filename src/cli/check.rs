//! `hoofbeat check` and `hoofbeat trace`: every target inquired, printed in the order they were typed.

use futures_util::StreamExt as _;
use hoofbeat_diagnosis::{Header, report, verdict::worst};

use super::{
    Stop,
    inquiry::{Answer, inquire},
    progress::Line,
    render,
    settings::{CheckSettings, OutputSettings, TOOL},
};
use crate::bundle::Judged;

/// Runs the command and returns the worst exit status.
pub(super) async fn run(mut settings: CheckSettings) -> Result<u8, Stop> {
    let mut archive = settings.archive.take();
    let unwritten = |error: std::io::Error| Stop::unreadable(format!("--archive: {error}"));
    // Without a target the network itself is the one.
    let subjects: Vec<_> = if settings.targets.is_empty() {
        vec![(String::new(), None)]
    } else {
        settings
            .targets
            .iter()
            .map(|(typed, target)| (typed.clone(), Some(target)))
            .collect()
    };
    let line = Line::new(settings.output.progress);
    let mut answers = futures_util::stream::iter(subjects)
        .map(|(typed, target)| {
            let (line, inquiry) = (&line, &settings.inquiry);
            async move { inquire(&typed, target, inquiry, &|step| line.show(&typed, step)).await }
        })
        .buffered(settings.jobs);
    let mut statuses = Vec::new();
    while let Some(answer) = answers.next().await {
        line.clear();
        statuses.push(answer.diagnosis.exit_status());
        show(&answer, settings.output);
        if let Some(bundle) = &mut archive {
            let judged = Judged::of(
                &answer.target,
                &answer.measurements,
                &answer.diagnosis,
                &answer.judged_with,
            );
            let same = bundle
                .keep(&answer.measurements, judged)
                .map_err(unwritten)?;
            if !same {
                eprintln!(
                    "hoofbeat: {}: with shortened addresses the archive is judged otherwise; --full-addresses keeps \
                     everything",
                    answer.target
                );
            }
        }
    }
    if let Some(bundle) = archive {
        bundle.finish().map_err(unwritten)?;
    }
    Ok(worst(statuses).unwrap_or(super::INCONCLUSIVE))
}

/// Prints one answer.
pub(super) fn show(answer: &Answer, output: OutputSettings) {
    if output.json {
        render::print(&format!("{}\n", json(answer)));
    } else {
        render::print(&render::text::report(
            &answer.target,
            &answer.diagnosis,
            &answer.measurements,
            output.detail,
        ));
    }
}

/// One line of JSON, schema `hoofbeat.diagnosis/1`.
pub(super) fn json(answer: &Answer) -> String {
    let started = time::OffsetDateTime::from_unix_timestamp(answer.started)
        .ok()
        .and_then(|moment| {
            moment
                .format(&time::format_description::well_known::Rfc3339)
                .ok()
        })
        .unwrap_or_default();
    let header = Header {
        tool: TOOL.to_owned(),
        started,
        target: answer.target.clone(),
        vantage: answer.vantage.clone(),
        connections: answer.connections,
        elapsed_ms: answer.elapsed.as_millis().try_into().unwrap_or(u64::MAX),
    };
    serde_json::to_string(&report(&answer.diagnosis, &header)).unwrap_or_else(|error| {
        // All members are strings, numbers and lists of them; this cannot fail but must not be silent.
        format!(
            "{{\"schema\":\"hoofbeat.diagnosis/1\",\"error\":{:?}}}",
            error.to_string()
        )
    })
}
