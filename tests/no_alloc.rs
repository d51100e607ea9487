//! Transcoding allocates nothing per event, once its buffers have grown.

#![expect(
    unsafe_code,
    reason = "counting allocations takes a global allocator, whose trait is unsafe"
)]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use tollgate::config::{Limits, TimeWindow};
use tollgate::event::{EventGroup, Refusal};
use tollgate::front::transcode::{self, Context, Rules};

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

/// The system's allocator, counting what each thread asks for.
struct Counting;

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

type Transcode = fn(&[u8], &Context<'_>, &mut EventGroup) -> Result<(), Refusal>;

/// Warms the buffers with one body, and counts the allocations of a thousand more.
fn allocations(body: &[u8], transcode: Transcode) -> usize {
    let rules = Rules::new(&Limits::default(), &TimeWindow::default());
    let mut stamp = Vec::new();
    transcode::put_content(&mut stamp, b"client_ip", b"203.0.113.7");
    let context = Context {
        rules: &rules,
        received: 1_781_510_400,
        stamp: &stamp,
        attached: tollgate::event::AttachedNames::NONE,
    };
    let mut out = EventGroup::default();
    transcode(body, &context, &mut out).unwrap();
    let before = ALLOCATIONS.get();
    for _ in 0..1000 {
        out.clear();
        transcode(body, &context, &mut out).unwrap();
    }
    ALLOCATIONS.get() - before
}

#[test]
fn the_counter_counts() {
    let before = ALLOCATIONS.get();
    drop(std::hint::black_box(vec![1u8]));
    assert_eq!(ALLOCATIONS.get() - before, 1);
}

#[test]
fn a_thousand_json_bodies_allocate_nothing() {
    let fields: Vec<_> = (0..200).map(|field| format!(r#""k{field}":"v""#)).collect();
    let wide = format!(r#"{{"__logs__":[{{{}}}]}}"#, fields.join(","));
    let long = format!(r#"{{"__logs__":[{{"k":"{}"}}]}}"#, "v".repeat(20_000));
    let bodies = [
        r#"{"__logs__":[{"event":"view","n":1.5,"__time__":1781510399123},{"event":"x"}],"__topic__":"web","__tags__":{"a":"b","__token__":"t"}}"#,
        r#"{"__logs__":[{"a\u0062":"x\ny","o":{ "a": [1, 2] },"__time__":"old","__pack_id__":1}]}"#,
        "%7B%22__logs__%22%3A%5B%7B%22a%22%3A%22b%22%7D%5D%7D",
        &wide,
        &long,
    ];
    for body in bodies {
        assert_eq!(allocations(body.as_bytes(), transcode::json), 0, "{body}");
    }
}

#[test]
fn a_thousand_queries_allocate_nothing() {
    let query = b"APIVersion=0.6.0&__topic__=web&a=1&b=x+y%20%ff&a=2&__time__=1781510399";
    let transcode: Transcode = |body, context, out| transcode::query(body, "token", context, out);
    assert_eq!(allocations(query, transcode), 0);
}

#[test]
fn a_thousand_log_groups_allocate_nothing() {
    let unchanged = b"\x0a\x0e\x08\x80\xe2\xbe\xd1\x06\x12\x06\x0a\x01a\x12\x01b\x1a\x03web";
    let rewritten = b"\x0a\x0e\x12\x06\x0a\x01a\x12\x01b\x08\x80\xe2\xbe\xd1\x06";
    let replaced = b"\x0a\x0a\x08\x01\x12\x06\x0a\x01a\x12\x01b";
    assert_eq!(allocations(unchanged, transcode::protobuf), 0);
    assert_eq!(allocations(replaced, transcode::protobuf), 0);
    assert_eq!(allocations(rewritten, transcode::protobuf), 0);
}
