//! Times a scan of each pickle named on the command line.
#![allow(clippy::print_stdout, clippy::unwrap_used)]
use std::ops::ControlFlow;
use std::time::Instant;
use embstore_formats::pickle::{FileSource, ItemRef, ItemSink, scan};
struct S(u64, u64);
impl ItemSink for S {
    fn wants(&mut self, _: Option<&str>) -> bool { true }
    fn item(&mut self, i: u64, item: ItemRef<'_>) -> ControlFlow<()> {
        self.0 = i + 1;
        for k in ["id", "title", "url"] {
            match item.get(k).unwrap().text() { Ok(Some(t)) => self.1 += t.len() as u64, _ => return ControlFlow::Break(()) }
        }
        ControlFlow::Continue(())
    }
}
fn main() {
    for path in std::env::args().skip(1) {
        for _ in 0..5 {
            let t = Instant::now();
            let source = FileSource::new(std::fs::File::open(&path).unwrap()).unwrap();
            let mut s = S(0, 0);
            let r = scan(&source, &mut s).map(|p| (p.end, p.trailing, p.tree.array(p.tree.root()).is_some()));
            println!("{path} {:?} {r:?} {} {}", t.elapsed(), s.0, s.1);
        }
    }
    let st = std::fs::read_to_string("/proc/self/status").unwrap();
    println!("{}", st.lines().filter(|l| l.starts_with("VmHWM") || l.starts_with("RssAnon")).collect::<Vec<_>>().join(" "));
}
