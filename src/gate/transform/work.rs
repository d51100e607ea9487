//! The buffers that transforms work in.

use super::agent::AgentSheet;
use super::draft::Sheets;
use super::json::JsonSheets;
use super::mask::MaskSheets;
use super::query::QuerySheets;

/// Memory above which a buffer is given back.
const KEPT: usize = 1 << 20;

/// The buffers that transforms work in. They belong to a thread, and are reused from request to
/// request.
#[derive(Debug, Default)]
pub struct Work {
    pub(super) sheets: Sheets,
    /// The events as they leave.
    pub(super) out: Vec<u8>,
    pub(super) scratch: Vec<u8>,
    pub(super) mask: MaskSheets,
    pub(super) json: JsonSheets,
    pub(super) query: QuerySheets,
    pub(super) agent: AgentSheet,
}

impl Work {
    /// A request begins.
    pub(super) fn begin(&mut self) {
        self.out.clear();
        self.agent.forget();
    }

    /// Gives back memory that only a huge request needed.
    pub(super) fn end(&mut self) {
        for buffer in [&mut self.out, &mut self.scratch] {
            buffer.clear();
            buffer.shrink_to(KEPT);
        }
        self.sheets.shrink(KEPT);
        self.mask.shrink(KEPT);
        self.json.shrink(KEPT);
        self.query.shrink(KEPT);
    }
}
