//! Each stage by itself, against the definition, for each instruction set.

use num_complex::Complex;

use super::*;
use crate::escape::step;
use crate::kernel::isa::{avx2::Avx2, avx512::Avx512};

const PLAIN: Mode = Mode { trap: false, costs: false };

/// A lattice whose points live for all kinds of times.
struct Plane {
    columns: Vec<f64>,
    rows: Vec<f64>,
    rule: Rule,
}

impl Plane {
    fn new(columns: i32, rows: i32, limit: u32) -> Self {
        let line = |len: i32, width: f64| {
            (0..len).map(|i| (f64::from(i) + 0.5 - f64::from(len) / 2.0) * width / f64::from(len)).collect()
        };
        let rule = Rule { c: Complex::new(-0.123, 0.745), limit, bailout: 2.0 };
        Self { columns: line(columns, 3.2), rows: line(rows, 2.0), rule }
    }

    fn lattice(&self) -> Lattice<'_> {
        Lattice { rule: self.rule, columns: &self.columns, rows: &self.rows }
    }

    fn point(&self, index: usize) -> Complex<f64> {
        Complex::new(self.columns[index % self.columns.len()], self.rows[index / self.columns.len()])
    }

    /// The point after `steps` steps.
    fn later(&self, index: usize, steps: u32) -> Complex<f64> {
        (0..steps).fold(self.point(index), |z, _| step(z, self.rule.c))
    }
}

/// Runs the test with each instruction set that the processor has.
macro_rules! with_each {
    ($test:ident) => {
        if let Some(isa) = Avx512::detect() {
            $test(isa);
        }
        if let Some(isa) = Avx2::detect() {
            $test(isa);
        }
    };
}

#[test]
fn the_front_counts_short_lives_and_hands_on_the_rest_as_they_are() {
    fn holds<I: Isa>(isa: I) {
        for (columns, rows, limit) in [(37, 9, 100), (1, 70, 100), (200, 1, 64), (37, 9, 21), (64, 3, 33), (5, 2, 3)] {
            let plane = Plane::new(columns, rows, limit);
            let (lattice, watch) = (plane.lattice(), Watch::new());
            let mut counts = vec![u32::MAX; lattice.len()];
            let sink = Sink { counts: &mut counts, re: &mut [], im: &mut [] };
            let mut run = Run::<I, 5, 3, false>::new(isa, &lattice, &watch, sink, PLAIN);
            run.front().expect("nobody cancels");
            assert_eq!(run.next, lattice.len());
            let steps = run.front_steps;
            assert_eq!(steps, FRONT.min(limit / GLANCE * GLANCE));
            let pending = &run.pending;
            let mut survivors: Vec<usize> = pending.index[..pending.len].iter().map(|&index| index as usize).collect();
            for (k, &index) in survivors.iter().enumerate() {
                let z = plane.later(index, steps);
                assert_eq!((pending.x[k].to_bits(), pending.y[k].to_bits()), (z.re.to_bits(), z.im.to_bits()));
                assert_eq!(pending.n[k], f64::from(steps));
            }
            survivors.sort_unstable();
            let long = |&index: &usize| plane.rule.escape(plane.point(index)).count >= steps;
            assert_eq!(survivors, (0..lattice.len()).filter(long).collect::<Vec<_>>());
            for index in (0..lattice.len()).filter(|index| !long(index)) {
                assert_eq!(counts[index], plane.rule.escape(plane.point(index)).count);
            }
        }
    }
    with_each!(holds);
}

#[test]
fn the_main_stage_brings_every_survivor_to_its_end() {
    fn holds<I: Isa>(isa: I) {
        for limit in [64, 65, 95, 96, 97, 500] {
            let plane = Plane::new(61, 23, limit);
            let (lattice, watch) = (plane.lattice(), Watch::new());
            let mut counts = vec![u32::MAX; lattice.len()];
            let sink = Sink { counts: &mut counts, re: &mut [], im: &mut [] };
            let mut run = Run::<I, 5, 3, false>::new(isa, &lattice, &watch, sink, PLAIN);
            run.main().expect("nobody cancels");
            assert_eq!((run.pending.len, run.last.len, run.tally.skipped), (0, 0, 0));
            let total: u64 = run.sink.counts.iter().map(|&count| u64::from(count)).sum();
            assert!(run.tally.told <= total);
            for (index, &count) in counts.iter().enumerate() {
                assert_eq!(count, plane.rule.escape(plane.point(index)).count, "point {index}, limit {limit}");
            }
        }
    }
    with_each!(holds);
}

#[test]
fn the_finish_stops_at_the_escape_and_at_the_limit() {
    fn holds<I: Isa>(isa: I) {
        let plane = Plane::new(41, 1, 40);
        let law = Law::new(isa, &plane.rule);
        // Points join at any age up to their escape, and within a stride of it or of the limit.
        let mut queue = Queue::<{ LAST + SLOP }>::new();
        for index in 0..41 {
            let count = plane.rule.escape(plane.point(index)).count;
            let age = count - count.min(index as u32 % STRIDE);
            let z = plane.later(index, age);
            (queue.x[index], queue.y[index]) = (z.re, z.im);
            (queue.n[index], queue.index[index]) = (f64::from(age), index as f64);
        }
        queue.len = 41;
        let (mut counts, mut re, mut im) = ([u32::MAX; 41], [0.0; 41], [0.0; 41]);
        let mut sink = Sink { counts: &mut counts, re: &mut re, im: &mut im };
        Run::<I, 5, 3, true>::finish(&law, &mut queue, &mut sink, 1);
        for index in 0..41 {
            let count = plane.rule.escape(plane.point(index)).count;
            let z = plane.later(index, count);
            assert_eq!((counts[index], re[index].to_bits(), im[index].to_bits()), (count, z.re.to_bits(), z.im.to_bits()));
        }
    }
    with_each!(holds);
}

#[test]
fn trapped_points_have_the_limit_as_count_and_their_steps_as_cost() {
    fn holds<I: Isa>(isa: I) {
        let plane = Plane::new(61, 23, 100_000);
        let (lattice, mut found) = (plane.lattice(), vec![]);
        for costs in [false, true] {
            let (mut counts, watch) = (vec![u32::MAX; lattice.len()], Watch::new());
            let sink = Sink { counts: &mut counts, re: &mut [], im: &mut [] };
            let mode = Mode { trap: true, costs };
            let total = Run::<I, 5, 3, false>::run(isa, &lattice, &watch, sink, mode).expect("nobody cancels");
            assert_eq!(total, counts.iter().map(|&count| u64::from(count)).sum::<u64>());
            assert_eq!(total, watch.iterations());
            found.push((counts, watch.executed()));
        }
        let [(counts, executed), (costs, executed_for_costs)] = &found[..] else { panic!("two runs") };
        assert_eq!(executed, executed_for_costs);
        assert_eq!(*executed, costs.iter().map(|&cost| u64::from(cost)).sum::<u64>());
        for (index, (&count, &cost)) in counts.iter().zip(costs).enumerate() {
            assert_eq!(count, plane.rule.escape(plane.point(index)).count);
            assert!(if count == 100_000 { cost < 1000 } else { cost == count }, "{count} {cost}");
        }
        assert!(counts.contains(&100_000));
    }
    with_each!(holds);
}
