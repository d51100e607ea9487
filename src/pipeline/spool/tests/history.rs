//! One history of a log on the simulated disk, beside a model of what was promised.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::super::{
    AppendError, Bundle, BundleId, Counts, Files, KeyRing, Log, LogRules, Order, Packing, Part,
    ReadError, Space, SpoolDirectory, WhenFull,
};
use super::disk::{Dice, Faults, SimDisk};
use crate::foundation::names::{LogstoreName, ProjectName};

/// What the model knows of a part.
#[derive(Debug)]
struct ModelPart {
    logs: Vec<u8>,
    events: u32,
    /// A sync was confirmed, and never taken back.
    promised: bool,
    /// Appended in this life and not withdrawn.
    held: bool,
    keyed: bool,
}

#[derive(Debug, Default)]
struct ModelBundle {
    key: Vec<u8>,
    parts: BTreeMap<u16, ModelPart>,
    finished: bool,
    done: bool,
    /// The life in which it was done last.
    done_in: u64,
    /// Done before a checkpoint that was confirmed.
    buried: bool,
    life: u64,
    /// Read at the end.
    seen: bool,
}

impl ModelBundle {
    fn promised(&self) -> u64 {
        let promised = self.parts.values().filter(|part| part.promised);
        promised.map(|part| u64::from(part.events)).sum()
    }
}

pub(super) struct History {
    pub(super) dice: Dice,
    disk: SimDisk,
    rules: LogRules,
    faults: Faults,
    keys: Option<Arc<KeyRing>>,
    space: Arc<Space>,
    directory: Option<SpoolDirectory>,
    log: Option<Log>,
    bundles: BTreeMap<BundleId, ModelBundle>,
    life: u64,
    next_number: u64,
    now: u64,
    flips: u64,
    /// Ended for want of room or by age, over all lives.
    shed: u64,
    /// Damage that was counted, over all lives.
    damage: u64,
    pub(super) told: bool,
    kind: Kind,
}

fn names() -> (ProjectName, LogstoreName) {
    let project = ProjectName::new("web-site").unwrap();
    (project, LogstoreName::new("clicks").unwrap())
}

fn damage_of(counts: &Counts) -> u64 {
    counts.damaged_records
        + counts.garbage
        + counts.torn_tails
        + counts.headerless_segments
        + counts.headless_events
}

impl History {
    pub(super) fn new(seed: u64, kind: Kind) -> Self {
        let mut dice = Dice(seed);
        let disk = SimDisk::new(dice.next());
        let dropping = kind == Kind::Shedding;
        let rules = LogRules {
            segment_bytes: 1500 + dice.below(4000),
            max_bytes: if dropping { 16_000 } else { 1 << 30 },
            max_age: (dropping && dice.below(2) == 0).then_some(5000),
            when_full: if dropping {
                WhenFull::DropOldest
            } else {
                WhenFull::Refuse
            },
            order: if dice.below(3) == 0 {
                Order::NewestFirst
            } else {
                Order::OldestFirst
            },
            packing: if dice.below(2) == 0 {
                Packing::Plain
            } else {
                Packing::Lz4
            },
            index_bytes: if dice.below(2) == 0 { 1500 } else { 1 << 20 },
            damaged: (20_000, 8),
            ..LogRules::default()
        };
        let faults = if kind == Kind::Faulty {
            let mut chance = |most: u64| {
                if dice.below(2) == 0 {
                    dice.below(most)
                } else {
                    0
                }
            };
            Faults {
                write: chance(150),
                short: chance(300),
                sync: chance(300),
                folder: chance(200),
                names: chance(150),
                read: chance(60),
                ..Faults::default()
            }
        } else {
            Faults::default()
        };
        let sealed = dice.below(8) == 0;
        let keys = sealed.then(|| Arc::new(KeyRing::new(&[&[7; 32]]).unwrap()));
        Self {
            dice,
            disk,
            rules,
            faults,
            keys,
            space: Arc::new(Space::new(1 << 40, 0)),
            directory: None,
            log: None,
            bundles: BTreeMap::new(),
            life: 0,
            next_number: 0,
            now: 1_700_000_000_000,
            flips: 0,
            shed: 0,
            damage: 0,
            told: false,
            kind,
        }
    }

    fn log(&mut self) -> &mut Log {
        self.log.as_mut().unwrap()
    }

    /// Begins a life. The faults come only after the spool was opened.
    pub(super) fn open(&mut self) {
        self.disk.set_faults(Faults::default());
        self.space = Arc::new(Space::new(1 << 40, 0));
        let files: Arc<dyn Files> = Arc::new(self.disk.clone());
        let space = Arc::clone(&self.space);
        let root = Path::new("/spool");
        let directory = SpoolDirectory::open(files, root, space, self.keys.clone()).unwrap();
        let (project, logstore) = names();
        let log = directory
            .log(&project, &logstore, self.rules.clone())
            .unwrap();
        self.life += 1;
        self.log = Some(log);
        self.directory = Some(directory);
        self.set_faults();
    }

    fn set_faults(&mut self) {
        let mut faults = self.faults;
        if self.dice.below(3) == 0 {
            faults.dies = Some(self.dice.below(60));
        }
        faults.full = self.disk.faults().full;
        self.disk.set_faults(faults);
    }

    fn close(&mut self) {
        if let Some(log) = self.log.take() {
            let counts = log.counts();
            assert!(counts.balance(), "{counts:?}");
            self.shed += counts.dropped_events + counts.expired_events;
            self.damage += damage_of(&counts);
        }
        self.directory = None;
        for bundle in self.bundles.values_mut() {
            bundle.finished = true;
            for part in bundle.parts.values_mut() {
                part.held = false;
            }
        }
    }

    fn crash(&mut self) {
        self.tell(|| "crash".to_owned());
        self.close();
        self.disk.crash();
    }

    fn append(&mut self) {
        let open = self.bundles.iter().filter(|(_, b)| !b.finished && !b.done);
        let open: Vec<BundleId> = open.map(|(id, _)| *id).collect();
        let id = if open.is_empty() || self.dice.below(3) > 0 {
            self.next_number += 1 + self.dice.below(3);
            BundleId {
                prefix: self.life,
                number: self.next_number,
            }
        } else {
            open[self.dice.below(open.len() as u64) as usize]
        };
        let (life, key_length) = (self.life, self.dice.below(30));
        let bundle = self.bundles.entry(id).or_insert_with(|| ModelBundle {
            key: format!("<key of {id}>{}", "k".repeat(key_length as usize)).into_bytes(),
            life,
            ..ModelBundle::default()
        });
        let number = bundle.parts.keys().last().map_or(0, |last| last + 1);
        let last = self.dice.below(2) == 0;
        let length = if self.dice.below(10) == 0 { 1500 } else { 120 };
        let filler = "x".repeat(self.dice.below(length) as usize);
        let part = ModelPart {
            logs: format!("<{id} {number} {filler}>").into_bytes(),
            events: 1 + self.dice.below(5) as u32,
            promised: false,
            held: false,
            keyed: false,
        };
        bundle.parts.insert(number, part);
        bundle.finished = last;
        self.append_part(id, number);
    }

    /// Appends a part of the model, for the first time or again.
    fn append_part(&mut self, id: BundleId, number: u16) -> bool {
        let bundle = self.bundles.get_mut(&id).unwrap();
        let is_last = bundle.finished && bundle.parts.keys().last() == Some(&number);
        let keyed = bundle.parts.values().all(|part| !part.held || !part.keyed);
        let part = bundle.parts.get_mut(&number).unwrap();
        part.keyed = keyed;
        let given = Part {
            bundle: id,
            number,
            last: is_last,
            events: part.events,
            key: keyed.then_some(&bundle.key),
            logs: &part.logs,
        };
        let result = self.log.as_mut().unwrap().append(&given, self.now);
        if self.told {
            eprintln!("append {id} {number} {result:?}");
        }
        match result {
            Ok(()) => part.held = true,
            Err(AppendError::Full(_) | AppendError::Disk { .. }) => {
                // The holder refuses it.
                return false;
            }
            Err(other) => panic!("{other}"),
        }
        true
    }

    fn sync(&mut self) {
        let split = self.dice.below(4) == 0;
        let result = if split && let Some(ticket) = self.log().begin_sync() {
            if self.dice.below(2) == 0 {
                self.append();
            }
            // What was appended meanwhile is promised by the next sync.
            let outcome = ticket.run();
            let result = self.log().finish_sync(outcome);
            if result.is_ok() {
                return;
            }
            result
        } else {
            self.log().sync()
        };
        match result {
            Ok(()) => {
                self.tell(|| "synced".to_owned());
                for part in self.bundles.values_mut().flat_map(|b| b.parts.values_mut()) {
                    part.promised |= part.held;
                }
            }
            Err(doubt) => {
                self.tell(|| format!("sync failed: {:?}", doubt.parts));
                for id in &doubt.parts {
                    let bundle = self.bundles.get_mut(&id.bundle).unwrap();
                    let part = bundle.parts.get_mut(&id.number).unwrap();
                    assert!(!part.promised, "what was durable is in doubt: {id:?}");
                    part.held = false;
                }
                // All others are durable, unless they came while the sync ran.
                if !split {
                    for part in self.bundles.values_mut().flat_map(|b| b.parts.values_mut()) {
                        part.promised |= part.held;
                    }
                }
                let again = self.dice.below(4) > 0;
                for id in doubt.parts.iter().filter(|_| again) {
                    self.append_part(id.bundle, id.number);
                }
            }
        }
    }

    /// One of the bundles that the holder has, durable and complete.
    fn any_held(&mut self) -> Option<BundleId> {
        let life = self.life;
        let held = self.bundles.iter().filter(|(_, b)| {
            b.life == life && !b.done && b.finished && b.parts.values().any(|p| p.held)
        });
        let held: Vec<BundleId> = held.map(|(id, _)| *id).collect();
        (!held.is_empty()).then(|| held[self.dice.below(held.len() as u64) as usize])
    }

    /// Told when one history is replayed.
    fn tell(&self, what: impl FnOnce() -> String) {
        if self.told {
            eprintln!("life {}: {}", self.life, what());
        }
    }

    fn done(&mut self) {
        if let Some(id) = self.any_held() {
            assert!(self.log().done(id), "{id} is not known");
            self.note_done(id);
        }
    }

    fn note_done(&mut self, id: BundleId) {
        self.tell(|| format!("done {id}"));
        let bundle = self.bundles.get_mut(&id).unwrap();
        bundle.done = true;
        bundle.done_in = self.life;
        bundle.finished = true;
        for part in bundle.parts.values_mut() {
            part.held = false;
        }
    }

    fn release(&mut self) {
        if let Some(id) = self.any_held()
            && self.bundles[&id].parts.values().all(|part| part.promised)
        {
            self.log().release(id);
            for part in self.bundles.get_mut(&id).unwrap().parts.values_mut() {
                part.held = false;
            }
        }
    }

    fn take(&mut self, at_end: bool) -> bool {
        let taken = match self.log().take_next() {
            Ok(Some(taken)) => taken,
            Ok(None) => return false,
            Err(error) => {
                assert!(!at_end, "{error}");
                return true;
            }
        };
        match self.log().read(taken.id) {
            Ok(bundle) => {
                self.check(&bundle);
                if at_end || self.dice.below(2) == 0 {
                    assert!(self.log().done(taken.id));
                    self.note_done(taken.id);
                    if at_end {
                        self.bundles.get_mut(&taken.id).unwrap().seen = true;
                    }
                } else {
                    self.log().release(taken.id);
                }
            }
            Err(ReadError::Disk { .. }) => assert!(!at_end),
            Err(ReadError::Lost) => {
                let bundle = &self.bundles[&taken.id];
                // What is left of one that was refused.
                let owed = bundle.promised() > 0;
                assert!(!owed || self.flips > 0, "{:?} was lost", taken.id);
            }
            Err(ReadError::Unknown) => panic!("{:?} was given and is unknown", taken.id),
        }
        true
    }

    /// What was read is what was appended.
    fn check(&self, read: &Bundle) {
        self.tell(|| format!("read {}", read.id));
        let bundle = &self.bundles[&read.id];
        let (logs, key) = read.log_group.split_at(read.logs_bytes);
        assert_eq!(key, bundle.key, "the key of {}", read.id);
        let (mut rest, mut events) = (logs, 0);
        for (number, part) in &bundle.parts {
            if let Some(after) = rest.strip_prefix(part.logs.as_slice()) {
                rest = after;
                events += u64::from(part.events);
            } else {
                // Without a checkpoint any half of what is done may come back.
                let faulty = self.kind == Kind::Faulty;
                let excused = !part.promised || self.flips > 0 || (bundle.done && faulty);
                assert!(excused, "part {number} of {} is missing", read.id);
            }
        }
        assert!(rest.is_empty(), "{} has more than was appended", read.id);
        assert_eq!(read.events, events, "events of {}", read.id);
        assert!(!bundle.buried || self.flips > 0, "{} came back", read.id);
        assert!(!bundle.seen, "{} was read twice", read.id);
    }

    fn checkpoint(&mut self) {
        let result = if self.dice.below(4) == 0
            && let Some(ticket) = self.log().begin_checkpoint()
        {
            // What is done meanwhile is not in it.
            let outcome = ticket.run();
            let burying: Vec<BundleId> = self
                .bundles
                .iter()
                .filter(|(_, b)| b.done)
                .map(|(id, _)| *id)
                .collect();
            self.done();
            self.append();
            let result = self.log().finish_checkpoint(outcome);
            if result.is_ok() {
                let life = self.life;
                for id in burying {
                    let bundle = self.bundles.get_mut(&id).unwrap();
                    bundle.buried |= bundle.done_in == life;
                }
            }
            return;
        } else {
            self.log().checkpoint()
        };
        if result.is_ok() {
            self.tell(|| "checkpoint".to_owned());
            let life = self.life;
            for bundle in self.bundles.values_mut() {
                bundle.buried |= bundle.done && bundle.done_in == life;
            }
        }
    }

    pub(super) fn step(&mut self, kind: Kind) {
        self.now += self.dice.below(400);
        match self.dice.below(100) {
            0..35 => self.append(),
            35..50 => self.sync(),
            50..60 => self.done(),
            60..68 => self.release(),
            68..76 => {
                self.take(false);
            }
            76..84 => self.checkpoint(),
            84..90 => {
                let budget = 1 + self.dice.below(8000);
                // An error is met again by the next call.
                if self.log().recover(budget).is_err() {}
            }
            90..93 => {
                let now = self.now;
                self.log().expire(now);
            }
            93..96 if kind == Kind::Faulty => {
                let mut faults = self.disk.faults();
                faults.full = !faults.full;
                self.disk.set_faults(faults);
            }
            96..98 => {
                self.close();
                self.open();
            }
            _ => {
                self.crash();
                self.flip(kind);
                self.open();
            }
        }
        if self.disk.is_dead() {
            self.crash();
            self.open();
        }
        let counts = self.log().counts();
        assert!(counts.balance(), "{counts:?}");
        self.tell(|| {
            let log = self.log.as_ref().unwrap();
            let line = |(number, s): (&u64, &super::super::log::Segment)| {
                format!(
                    "  {number}: {} {:?} {:?} cut {} live {} cuts {:?}",
                    s.length, s.state, s.numbers, s.cut, s.live, s.header.cuts
                )
            };
            let lines: Vec<String> = log.segments.iter().map(line).collect();
            format!("segments\n{}", lines.join("\n"))
        });
    }

    fn flip(&mut self, kind: Kind) {
        if kind == Kind::Flipped && self.flips == 0 {
            let ending = if self.dice.below(5) == 0 {
                "checkpoint"
            } else {
                ".seg"
            };
            self.flips += u64::from(self.disk.flip(ending));
        }
    }

    /// The disk heals; all that is there is read; nothing is left.
    pub(super) fn finish(&mut self, kind: Kind) {
        if self.dice.below(2) == 0 {
            self.crash();
        } else {
            self.close();
        }
        self.flip(kind);
        self.faults = Faults::default();
        self.open();
        self.disk.set_faults(Faults::default());
        while !self.log().recover(4000).unwrap() {}
        while self.take(true) {}
        let counts = self.log().counts();
        assert!(counts.balance(), "{counts:?}");
        assert_eq!(
            (counts.held_events, counts.held_bundles),
            (0, 0),
            "{counts:?}"
        );
        assert_eq!(
            (counts.held_raw_bytes, counts.index_bytes),
            (0, 0),
            "{counts:?}"
        );
        assert_eq!(counts.disk_bytes, self.space.used());
        self.log().checkpoint().unwrap();
        self.close();
        let owed = self
            .bundles
            .values()
            .filter(|b| !b.done && !b.seen && b.promised() > 0);
        let owed: Vec<u64> = owed.map(ModelBundle::promised).collect();
        self.tell(|| {
            format!(
                "{:#?}",
                self.bundles
                    .iter()
                    .filter(|(_, b)| !b.done && !b.seen)
                    .collect::<Vec<_>>()
            )
        });
        match kind {
            Kind::Shedding => assert!(owed.iter().sum::<u64>() <= self.shed),
            Kind::Flipped => {
                assert!(
                    owed.len() as u64 <= self.flips,
                    "{} bundles lost",
                    owed.len()
                );
                assert!(owed.is_empty() || self.damage > 0, "lost, and not counted");
            }
            _ => assert_eq!(owed, Vec::<u64>::new(), "promised, and never read"),
        }
        // The checkpoint was confirmed: nothing may come back.
        self.disk.crash();
        self.open();
        self.disk.set_faults(Faults::default());
        while !self.log().recover(u64::MAX).unwrap() {}
        assert_eq!(self.log().take_next().unwrap(), None, "something came back");
        assert_eq!(self.log().counts().disk_bytes, 0);
        assert_eq!(self.space.used(), 0);
    }
}

/// What goes wrong in a history, beside crashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Plain,
    Faulty,
    Flipped,
    Shedding,
}
