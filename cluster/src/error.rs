//! What can be wrong with the points or the options.

/// Why nothing was clustered.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The values are not whole rows.
    #[error("{values} values are no rows of {dims}")]
    Shape {
        /// How many values there are.
        values: usize,
        /// How many each row should have.
        dims: usize,
    },
    /// More rows than can be numbered, or wider ones than the error bounds hold for.
    #[error(
        "{rows} rows of {dims} values are too many: at most {} rows of {}",
        crate::points::MAX_ROWS,
        crate::points::MAX_DIMS
    )]
    TooLarge {
        /// Rows.
        rows: usize,
        /// Values of each.
        dims: usize,
    },
    /// A NaN or an infinity.
    #[error("row {row} holds {value} in column {column}")]
    NonFinite {
        /// The first row that has one, from 0.
        row: usize,
        /// Where in the row, from 0.
        column: usize,
        /// What it is.
        value: f32,
    },
    /// A cluster of fewer than two points is none.
    #[error("the smallest cluster is to have {size} points, but it takes at least 2")]
    MinClusterSize {
        /// What was asked for.
        size: usize,
    },
    /// A core distance to the nearest neighbour but none.
    #[error("the core distance is to reach to neighbour 0, but the nearest is neighbour 1")]
    MinSamples,
    /// A distance that is none.
    #[error("{epsilon} is no distance below which clusters could be joined")]
    Epsilon {
        /// What was asked for.
        epsilon: f64,
    },
    /// No cluster could be large enough and small enough.
    #[error("clusters are to have at most {max} and at least {min} points")]
    MaxClusterSize {
        /// The largest that was asked for.
        max: usize,
        /// The smallest that was asked for.
        min: usize,
    },
    /// More components than there are columns, or rows that they could come from.
    #[error("{components} components cannot be had from {rows} rows of {dims} values")]
    Components {
        /// What was asked for.
        components: usize,
        /// Rows.
        rows: usize,
        /// Values of each.
        dims: usize,
    },
    /// The monitor asked to stop.
    #[error("stopped before the end")]
    Cancelled,
}

impl Error {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Error::Shape { .. } => "hand over all values of the rows, one row after the other".into(),
            Error::TooLarge { .. } => "cluster a sample, or parts by themselves".into(),
            Error::NonFinite { .. } => "leave the row out, or embed its text again".into(),
            Error::MinClusterSize { .. } => "set the minimum cluster size to 2 or more".into(),
            Error::MinSamples => "set the minimum of samples to 1 or more".into(),
            Error::Epsilon { .. } => "set epsilon to 0 (which joins nothing) or to a distance".into(),
            Error::MaxClusterSize { min, .. } => format!("set the maximum cluster size to {min} or more, or to none"),
            Error::Components { rows, dims, .. } => format!("ask for 1 to {} components", (*rows).min(*dims)),
            Error::Cancelled => return None,
        };
        Some(hint)
    }
}
