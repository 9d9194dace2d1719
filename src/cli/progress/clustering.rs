//! Groups on their way to clusters: one bar of all points, and what becomes of each group.

use std::time::Instant;

use embstore::Clustering;
use embstore::text::thousands;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use super::INTERVAL;
use super::ticker::Ticker;

/// How far the groups are.
pub(super) struct Clusterings {
    began: Instant,
    pub(super) lines: Ticker,
    groups: u64,
    groups_done: u64,
    points: u64,
    done: u64,
    /// The group that was told of last, and its stage.
    current: Option<(String, &'static str)>,
    bar: Option<ProgressBar>,
}

impl Clusterings {
    pub(super) fn new() -> Self {
        let now = Instant::now();
        Clusterings {
            began: now,
            lines: Ticker::new(INTERVAL * 4),
            groups: 0,
            groups_done: 0,
            points: 0,
            done: 0,
            current: None,
            bar: None,
        }
    }

    /// Takes what has happened into account.
    pub(super) fn hear(&mut self, event: Clustering<'_>, bars: Option<&MultiProgress>) {
        match event {
            Clustering::Begin { groups, points } => {
                (self.groups, self.points) = (groups, points);
                self.bar = bars.map(|bars| bars.add(ProgressBar::new(points).with_style(style())));
            }
            Clustering::Stage { group, stage } => self.current = Some((group.into(), stage)),
            Clustering::Points { points } => self.done += points,
            Clustering::Done { .. } | Clustering::Failed { .. } => self.groups_done += 1,
            Clustering::Skipped { .. } | Clustering::Note { .. } => {}
        }
        if let Some(bar) = &self.bar {
            bar.set_position(self.done);
            bar.set_message(self.message());
        }
    }

    /// Takes the bar away.
    pub(super) fn clear(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }

    fn message(&self) -> String {
        let folders = match self.groups {
            0 | 1 => String::new(),
            groups => format!("{} of {} folders done; ", thousands(self.groups_done), thousands(groups)),
        };
        let stage = self.current.as_ref().map(|(group, stage)| format!("{stage} of {group}")).unwrap_or_default();
        format!("{folders}{stage}")
    }

    pub(super) fn text(&self) -> String {
        let percent = 100 * self.done / self.points.max(1);
        let (done, points) = (thousands(self.done), thousands(self.points));
        format!("cluster {done} of {points} points ({percent} %), {}", self.message())
    }

    pub(super) fn json(&self) -> Value {
        let (group, stage) = self.current.as_ref().map(|(group, stage)| (group, stage)).unzip();
        json!({
            "phase": "cluster",
            "groups": self.groups,
            "groups_done": self.groups_done,
            "points": self.points,
            "done": self.done,
            "fraction": if self.points > 0 { Some(self.done as f64 / self.points as f64) } else { None },
            "group": group,
            "stage": stage,
            "seconds": self.began.elapsed().as_secs_f64(),
        })
    }
}

/// Says at once what happens to one group, where lines are shown.
pub(super) fn sentence(event: Clustering<'_>) -> Option<String> {
    match event {
        Clustering::Done { group, points, clusters, noise, seconds } => {
            let (points, clusters, noise) = (thousands(points), thousands(clusters), thousands(noise));
            Some(format!("✓ {group}: {points} points in {clusters} clusters, {noise} noise, in {seconds:.1} s"))
        }
        Clustering::Skipped { group } => Some(format!("✓ {group} was up to date")),
        Clustering::Failed { error: text, .. } => Some(format!("⚠ {text}")),
        Clustering::Note { text } => Some(text.into()),
        Clustering::Begin { .. } | Clustering::Stage { .. } | Clustering::Points { .. } => None,
    }
}

/// The same for programs.
pub(super) fn event_json(event: Clustering<'_>) -> Option<Value> {
    match event {
        Clustering::Done { group, points, clusters, noise, seconds } => Some(json!({
            "event": "done", "group": group, "points": points, "clusters": clusters, "noise": noise, "seconds": seconds
        })),
        Clustering::Skipped { group } => Some(json!({"event": "skipped", "group": group})),
        Clustering::Failed { group, error } => Some(json!({"event": "failed", "group": group, "error": error})),
        Clustering::Note { text } => Some(json!({"event": "note", "text": text})),
        Clustering::Stage { group, stage } => Some(json!({"event": "stage", "group": group, "stage": stage})),
        Clustering::Begin { .. } | Clustering::Points { .. } => None,
    }
}

fn style() -> ProgressStyle {
    let template = "cluster {bar:30} {human_pos}/{human_len} points  {msg}";
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
