//! A file system in memory that can lose power: what was not synced survives in random parts, and not in the order in which it was
//! written. It is harsher than any real one.
//!
//! Sectors of 512 bytes are written whole or not at all; a file that grew may hold garbage where nothing arrived. A rename is one step in
//! both folders. Names become durable when one of their folders is synced, and at random when the power goes. A sync that fails has
//! dropped what it should have written, as Linux does; lengths are in the file system's own journal, and are not dropped.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    io,
    path::Path,
    sync::{Arc, Mutex, MutexGuard},
};

use crate::disk::{Disk, DiskFile, Kind};

/// A folder that is there from the start.
pub(crate) const FOLDER: &str = "disk";
const SECTOR: u64 = 512;
const ENOSPC: i32 = 28;
const EIO: i32 = 5;

/// SplitMix64.
#[derive(Clone, Debug)]
pub(crate) struct Rng(pub(crate) u64);

impl Rng {
    pub(crate) fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.bits() % bound
    }

    pub(crate) fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    pub(crate) fn bytes(&mut self, count: u64) -> Vec<u8> {
        (0..count).map(|_| self.bits().to_le_bytes()[0]).collect()
    }
}

type Inode = usize;
type Name = (Inode, OsString);
/// What one step does to names, in all folders at once.
type Step = Vec<(Name, Option<Inode>)>;

#[derive(Clone, Debug)]
enum Change {
    Write(u64, Vec<u8>),
    Cut(u64),
}

#[derive(Clone, Debug, Default)]
struct Node {
    is_folder: bool,
    /// What programs see.
    now: Vec<u8>,
    /// What is on the platter for certain.
    durable: Vec<u8>,
    pending: Vec<Change>,
}

#[derive(Debug)]
pub(crate) struct World {
    nodes: Vec<Node>,
    names: BTreeMap<Name, Inode>,
    durable_names: BTreeMap<Name, Inode>,
    pending_names: Vec<Step>,
    pub(crate) rng: Rng,
    /// Operations until the power goes.
    pub(crate) fuse: Option<u64>,
    /// Of a hundred operations so many fail.
    pub(crate) failing_percent: u64,
    /// The name of files that cannot be read.
    pub(crate) bad_sectors: Option<&'static str>,
    is_locked: bool,
}

/// A handle on the world, as a process has one.
#[derive(Clone, Debug)]
pub(crate) struct SimDisk(Arc<Mutex<World>>);

#[derive(Debug)]
struct SimFile(SimDisk, Inode);

fn os_error(code: i32) -> io::Error {
    io::Error::from_raw_os_error(code)
}

fn missing() -> io::Error {
    io::ErrorKind::NotFound.into()
}

fn write(content: &mut Vec<u8>, offset: u64, bytes: &[u8]) {
    let offset = usize::try_from(offset).unwrap();
    content.resize(content.len().max(offset + bytes.len()), 0);
    content[offset..offset + bytes.len()].copy_from_slice(bytes);
}

impl Node {
    fn make_durable(&mut self) {
        for change in std::mem::take(&mut self.pending) {
            match change {
                Change::Write(offset, bytes) => write(&mut self.durable, offset, &bytes),
                Change::Cut(bytes) => self.durable.resize(usize::try_from(bytes).unwrap(), 0),
            }
        }
    }
}

impl World {
    /// Whether this operation fails, and how.
    fn step(&mut self) -> io::Result<()> {
        if let Some(fuse) = &mut self.fuse {
            if *fuse == 0 {
                return Err(io::Error::other("the power is gone"));
            }
            *fuse -= 1;
        }
        if self.failing_percent > 0 && self.rng.chance(self.failing_percent) {
            return Err(os_error(if self.rng.chance(50) { ENOSPC } else { EIO }));
        }
        Ok(())
    }

    fn find(&self, path: &Path) -> Option<Inode> {
        path.iter().try_fold(0, |folder, name| self.names.get(&(folder, name.to_owned())).copied())
    }

    fn parent(&self, path: &Path) -> io::Result<Name> {
        let folder = self.find(path.parent().unwrap()).ok_or_else(missing)?;
        Ok((folder, path.file_name().unwrap().to_owned()))
    }

    fn rename_step(&mut self, step: Step) {
        for (name, inode) in &step {
            match inode {
                Some(inode) => drop(self.names.insert(name.clone(), *inode)),
                None => drop(self.names.remove(name)),
            }
        }
        self.pending_names.push(step);
    }

    fn create(&mut self, path: &Path, is_folder: bool) -> io::Result<Inode> {
        let name = self.parent(path)?;
        self.nodes.push(Node { is_folder, ..Node::default() });
        self.rename_step(vec![(name, Some(self.nodes.len() - 1))]);
        Ok(self.nodes.len() - 1)
    }

    /// Makes the steps durable that touch `folder`, and the earlier ones that they build on.
    fn sync_names(&mut self, folder: Inode) {
        let mut wanted: BTreeSet<Name> = BTreeSet::new();
        let mut chosen = vec![false; self.pending_names.len()];
        for (at, step) in self.pending_names.iter().enumerate().rev() {
            if step.iter().any(|(name, _)| name.0 == folder || wanted.contains(name)) {
                chosen[at] = true;
                wanted.extend(step.iter().map(|(name, _)| name.clone()));
            }
        }
        let mut chosen = chosen.into_iter();
        let (now, later) = std::mem::take(&mut self.pending_names).into_iter().partition(|_| chosen.next().unwrap());
        self.pending_names = later;
        let now: Vec<Step> = now;
        now.into_iter().for_each(|step| self.make_durable(step));
    }

    fn make_durable(&mut self, step: Step) {
        for (name, inode) in step {
            match inode {
                Some(inode) => drop(self.durable_names.insert(name, inode)),
                None => drop(self.durable_names.remove(&name)),
            }
        }
    }

    fn lose_power(&mut self) {
        let mut dead: BTreeSet<Name> = BTreeSet::new();
        let percent = [0, 50, 90, 100][usize::try_from(self.rng.below(4)).unwrap()];
        for step in std::mem::take(&mut self.pending_names) {
            if step.iter().any(|(name, _)| dead.contains(name)) || !self.rng.chance(percent) {
                dead.extend(step.into_iter().map(|(name, _)| name));
            } else {
                self.make_durable(step);
            }
        }
        self.names = self.durable_names.clone();
        for node in &mut self.nodes {
            let percent = [0, 50, 90, 100][usize::try_from(self.rng.below(4)).unwrap()];
            for change in std::mem::take(&mut node.pending) {
                match change {
                    Change::Cut(bytes) if self.rng.chance(percent) => node.durable.resize(usize::try_from(bytes).unwrap(), 0),
                    Change::Cut(_) => {}
                    Change::Write(offset, bytes) => survive(&mut node.durable, offset, &bytes, percent, &mut self.rng),
                }
            }
            node.now = node.durable.clone();
        }
        (self.fuse, self.failing_percent, self.is_locked) = (None, 0, false);
    }
}

/// Some sectors of a write arrive.
fn survive(durable: &mut Vec<u8>, offset: u64, bytes: &[u8], percent: u64, rng: &mut Rng) {
    let (end, length) = (offset + bytes.len() as u64, durable.len() as u64);
    if end > length && rng.chance(percent) {
        let garbage = if rng.chance(50) { rng.bytes(end - length) } else { vec![0; usize::try_from(end - length).unwrap()] };
        durable.extend(garbage);
    }
    let mut from = offset;
    while from < end {
        let to = ((from / SECTOR + 1) * SECTOR).min(end);
        if rng.chance(percent) {
            let part = usize::try_from(from - offset).unwrap()..usize::try_from(to - offset).unwrap();
            write(durable, from, &bytes[part]);
        }
        from = to;
    }
}

impl SimDisk {
    pub(crate) fn new(seed: u64) -> Self {
        let folder = Node { is_folder: true, ..Node::default() };
        let names = BTreeMap::from([((0, FOLDER.into()), 1)]);
        let world = World {
            nodes: vec![folder.clone(), folder],
            durable_names: names.clone(),
            names,
            pending_names: Vec::new(),
            rng: Rng(seed),
            fuse: None,
            failing_percent: 0,
            bad_sectors: None,
            is_locked: false,
        };
        Self(Arc::new(Mutex::new(world)))
    }

    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap()
    }

    /// The power goes and comes back.
    pub(crate) fn lose_power(&self) {
        self.world().lose_power();
    }

    /// The process ends, the machine goes on.
    pub(crate) fn kill(&self) {
        let mut world = self.world();
        (world.fuse, world.failing_percent, world.is_locked) = (None, 0, false);
    }
}

impl Disk for SimDisk {
    fn kind(&self, path: &Path) -> io::Result<Kind> {
        let mut world = self.world();
        world.step()?;
        Ok(match world.find(path).map(|inode| &world.nodes[inode]) {
            None => Kind::Nothing,
            Some(node) if node.is_folder => Kind::Folder,
            Some(node) => Kind::File(node.now.len() as u64),
        })
    }

    fn names(&self, folder: &Path) -> io::Result<Vec<OsString>> {
        let mut world = self.world();
        world.step()?;
        let folder = world.find(folder).ok_or_else(missing)?;
        Ok(world.names.keys().filter(|(parent, _)| *parent == folder).map(|(_, name)| name.clone()).collect())
    }

    fn open(&self, path: &Path, create: bool) -> io::Result<Box<dyn DiskFile>> {
        let mut world = self.world();
        world.step()?;
        let inode = match world.find(path) {
            Some(inode) => inode,
            None if create => world.create(path, false)?,
            None => return Err(missing()),
        };
        Ok(Box::new(SimFile(self.clone(), inode)))
    }

    fn create_folder(&self, path: &Path) -> io::Result<()> {
        let mut world = self.world();
        world.step()?;
        if world.find(path).is_none() {
            world.create(path, true)?;
        }
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut world = self.world();
        world.step()?;
        let inode = world.find(from).ok_or_else(missing)?;
        let (from, to) = (world.parent(from)?, world.parent(to)?);
        world.rename_step(vec![(from, None), (to, Some(inode))]);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut world = self.world();
        world.step()?;
        let inode = world.find(path).ok_or_else(missing)?;
        let inside: Vec<Name> = world.names.keys().filter(|(parent, _)| *parent == inode).cloned().collect();
        for name in inside {
            // Each by itself: the power may go in between.
            world.step()?;
            world.rename_step(vec![(name, None)]);
        }
        let name = world.parent(path)?;
        world.rename_step(vec![(name, None)]);
        Ok(())
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        let mut world = self.world();
        world.step()?;
        let folder = world.find(folder).ok_or_else(missing)?;
        world.sync_names(folder);
        Ok(())
    }

    fn sync_all(&self, _: &Path) -> io::Result<()> {
        let mut world = self.world();
        world.step()?;
        std::mem::take(&mut world.pending_names).into_iter().for_each(|step| world.make_durable(step));
        world.nodes.iter_mut().for_each(Node::make_durable);
        Ok(())
    }

    fn lock(&mut self, _: &Path) -> io::Result<bool> {
        Ok(!std::mem::replace(&mut self.world().is_locked, true))
    }
}

impl DiskFile for SimFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut world = self.0.world();
        world.step()?;
        if world.names.iter().any(|((_, name), inode)| *inode == self.1 && world.bad_sectors.is_some_and(|bad| name == bad)) {
            return Err(os_error(EIO));
        }
        let content = &world.nodes[self.1].now;
        let from = usize::try_from(offset).unwrap().min(content.len());
        let count = buffer.len().min(content.len() - from);
        buffer[..count].copy_from_slice(&content[from..from + count]);
        Ok(count)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut world = self.0.world();
        let outcome = world.step();
        // A write that fails has written some of it.
        let count = if outcome.is_ok() { bytes.len() as u64 } else { world.rng.below(bytes.len() as u64 + 1) };
        let part = &bytes[..usize::try_from(count).unwrap()];
        let node = &mut world.nodes[self.1];
        write(&mut node.now, offset, part);
        node.pending.push(Change::Write(offset, part.to_vec()));
        outcome
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut world = self.0.world();
        let outcome = world.step();
        let has_power = world.fuse != Some(0);
        let node = &mut world.nodes[self.1];
        match &outcome {
            Ok(()) => node.make_durable(),
            Err(_) if has_power => node.pending.retain(|change| matches!(change, Change::Cut(_))),
            Err(_) => {}
        }
        outcome
    }

    fn cut(&self, bytes: u64) -> io::Result<()> {
        {
            let mut world = self.0.world();
            world.step()?;
            let node = &mut world.nodes[self.1];
            node.now.resize(usize::try_from(bytes).unwrap(), 0);
            node.pending.push(Change::Cut(bytes));
        }
        self.sync_data()
    }
}
