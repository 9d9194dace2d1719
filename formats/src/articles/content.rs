//! The checksum of articles by their content, for stores that hold them in a form of their own.
//!
//! ```text
//! id: length (u64, little-endian), UTF-8 │ title: the same │ url: the same │ next article …
//! ```

use super::{Article, ArticlesWritten};
use crate::checksum::Hasher;

/// Measures articles in row order, whatever bytes they are stored as.
#[derive(Clone, Debug, Default)]
pub struct ContentHasher {
    hasher: Hasher,
    count: u64,
}

impl ContentHasher {
    /// Measures the article that follows.
    pub fn update(&mut self, article: Article<'_>) {
        for text in [article.id, article.title, article.url] {
            self.hasher.update(&(text.len() as u64).to_le_bytes());
            self.hasher.update(text.as_bytes());
        }
        self.count += 1;
    }

    /// Number and checksum of all articles so far. The bytes that it counts are those of the encoding above.
    #[must_use]
    pub fn written(&self) -> ArticlesWritten {
        ArticlesWritten { count: self.count, checksum: self.hasher.checksum() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(articles: &[[&str; 3]]) -> ArticlesWritten {
        let mut hasher = ContentHasher::default();
        articles.iter().for_each(|&[id, title, url]| hasher.update(Article { id, title, url }));
        hasher.written()
    }

    #[test]
    fn texts_do_not_run_into_each_other() {
        let apart = [
            written(&[["1", "ab", "c"]]),
            written(&[["1", "a", "bc"]]),
            written(&[["1ab", "", "c"]]),
            written(&[["1", "ab", "c"], ["", "", ""]]),
        ];
        for (index, one) in apart.iter().enumerate() {
            assert!(apart[index + 1..].iter().all(|other| other != one), "{index}");
        }
        assert_eq!((apart[3].count, apart[3].checksum.len()), (2, 52));
    }
}
