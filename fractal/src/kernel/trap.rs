//! Disks that no orbit leaves: a point found in one never escapes, so its count is the limit without walking there.
//!
//! A connected filled Julia set with an interior has, in nearly every picture, an attracting cycle, which the orbit of 0 is drawn to
//! (Fatou 1905; J. Milnor, *Dynamics in One Complex Variable*, theorem 8.6). [`Hunt`] follows that orbit until it nearly closes,
//! and looks for disks around its points of which each is mapped into the next. The certificate is about the *computed* orbit, so
//! a kernel that uses it gives the same bits as one that walks on.
//!
//! **Certificate.** Take doubles p_0 ... p_(k-1) and radii r_i, indices modulo k. Let |z - p_i| <= r_i and m = |p_i|. Exactly,
//! `z^2 + c - (p_i^2 + c) = d (2 p_i + d)` with d = z - p_i, a modulus of at most `2 m r_i + r_i^2`. While m + r_i < 1.9, the computed
//! step of either point is within 1e-14 of the exact one: every intermediate is below 8, and there are fewer than ten roundings of
//! at most 2^-51. So the computed step of z lies within
//!
//! `r' = (2 m r_i + r_i^2) (1 + 1e-12) + |step(p_i) - p_(i+1)| (1 + 1e-12) + 1e-11`
//!
//! of p_(i+1), where 1e-12 and 1e-11 cover the rounding of this formula too. If r' <= r_(i+1) for all i, a computed orbit that is in
//! one of the disks is in the next one after the next step, for ever; and as m + r_i < 1.9 < R, it never escapes. That the points are
//! near a cycle is not assumed: k = 1, p_0 = 0 gives the classical disk |z| <= 1/2 for |c| < 1/4.
//!
//! **|c| = 1/4.** There the disk |z| <= 1/2 is mapped into itself with no margin, and rounding may carry an orbit out by d:
//! `(1/2 + d)^2 + 1/4 = 1/2 + d + d^2`, so d grows by d^2 + 1e-15 a step at most. From d_0 = 1e-15 that keeps d_n <= 2e-15 (n + 1) as
//! long as the square of that is at most 1e-15, that is, n < 1.5e7. [`CREEP_MAX`] steps are therefore safe.

use num_complex::Complex;

use crate::escape::{Rule, step};

/// The longest cycle that is looked for.
const PERIOD_MAX: usize = 64;
/// Steps of the orbit of 0 after which the hunt ends; a cycle that draws it in more slowly has too small disks.
const STEPS_MAX: u32 = 100_000;
/// How nearly the orbit has to close at first, squared.
const CLOSURE_SQUARED: f64 = 1e-8;
/// The closest look; a cycle that has no disks now has none.
const CLOSURE_SQUARED_MIN: f64 = 1e-28;
/// Laps round the cycle by which the radii settle.
const LAPS: u32 = 40;
/// The limit up to which the disk |z| <= 1/2 holds orbits of |c| = 1/4.
const CREEP_MAX: u32 = 10_000_000;
/// No disk reaches farther from 0.
const REACH: f64 = 1.9;
/// What a bound on a distance may be off by, relative and absolute.
const SLACK: (f64, f64) = (1.0 + 1e-12, 1e-11);
/// Membership is tested with a radius that is smaller by more than the test rounds.
const WITHIN: f64 = 1.0 - 1e-9;

/// A disk of the plane.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Disk {
    pub(super) center: Complex<f64>,
    pub(super) radius: f64,
}

impl Disk {
    /// The square to compare a computed squared distance with: what is smaller lies within the disk, whatever was rounded.
    pub(super) fn threshold(self) -> f64 {
        self.radius * self.radius * WITHIN
    }

    fn new(center: Complex<f64>, radius: f64) -> Self {
        Self { center, radius }
    }

    /// Radius of a disk about `next` that this one's computed image lies in.
    fn image(self, next: Complex<f64>, c: Complex<f64>) -> f64 {
        let (r, miss) = (self.radius, modulus(step(self.center, c) - next));
        (2.0 * modulus(self.center) * r + r * r) * SLACK.0 + miss * SLACK.0 + SLACK.1
    }

    /// The largest radius about `center` whose [`Disk::image`] has the radius `image`, about; not positive where there is none.
    fn source(center: Complex<f64>, next: Self, c: Complex<f64>) -> f64 {
        let (m, miss) = (modulus(center), modulus(step(center, c) - next.center));
        let q = (next.radius - SLACK.1) / SLACK.0 - miss;
        // The root of 2 m r + r^2 = q, in a form that does not cancel.
        if q > 0.0 { (q / ((m * m + q).sqrt() + m)).min(REACH - m) * (1.0 - 1e-9) } else { 0.0 }
    }
}

fn modulus(z: Complex<f64>) -> f64 {
    (z.re * z.re + z.im * z.im).sqrt()
}

/// Checks the certificate: every disk's computed image lies in the next one, the last one's in the first.
fn is_certified(disks: &[Disk], c: Complex<f64>) -> bool {
    disks.iter().zip(disks.iter().cycle().skip(1)).all(|(disk, next)| {
        disk.radius > 0.0 && modulus(disk.center) + disk.radius < REACH && disk.image(next.center, c) <= next.radius
    })
}

/// Certified disks round the nearly closed orbit `cycle`, about as large as they can be.
fn disks_round(cycle: &[Complex<f64>], c: Complex<f64>) -> Option<Vec<Disk>> {
    // Backwards round the cycle, radii fall towards the largest that returns.
    let back = |radius: f64| {
        let mut disks = vec![Disk::new(cycle[0], radius)];
        for &center in cycle.iter().rev() {
            disks.push(Disk::new(center, Disk::source(center, disks[disks.len() - 1], c)));
        }
        disks
    };
    let mut largest = REACH;
    for _ in 0..LAPS {
        largest = back(largest)[cycle.len()].radius;
    }
    let mut radius = largest;
    while radius > 1e-6 {
        radius *= 0.97;
        let mut disks = back(radius);
        // The last of the lap stands for the first as well: it has the same centre, and the larger radius.
        let larger = disks.pop()?;
        disks[0] = if larger.radius >= radius { Disk::new(cycle[0], radius) } else { larger };
        disks[1..].reverse();
        if is_certified(&disks, c) {
            return Some(disks);
        }
    }
    None
}

/// The disk about 0, for |c| <= 1/4.
fn disk_about_zero(rule: &Rule) -> Option<Vec<Disk>> {
    let c = modulus(rule.c);
    if c > 0.25 {
        return None;
    }
    let zero = Complex::new(0.0, 0.0);
    let wide = vec![Disk::new(zero, 0.5 + 0.99 * (0.25 - c).sqrt())];
    if is_certified(&wide, rule.c) {
        return Some(wide);
    }
    (rule.limit <= CREEP_MAX).then(|| vec![Disk::new(zero, 0.5)])
}

/// The search for disks, a few steps at a time.
pub(super) struct Hunt {
    rule: Rule,
    z: Complex<f64>,
    /// An earlier point of the orbit, how many steps ago that was, and at which age it is replaced (Brent 1980).
    mark: Complex<f64>,
    age: u32,
    next_age: u32,
    closure_squared: f64,
    steps_left: u32,
}

impl Hunt {
    pub(super) fn new(rule: Rule, wanted: bool) -> Self {
        let zero = Complex::new(0.0, 0.0);
        let steps_left = if wanted { STEPS_MAX } else { 0 };
        Self { rule, z: zero, mark: zero, age: 0, next_age: 2, closure_squared: CLOSURE_SQUARED, steps_left }
    }

    /// Looks on for `steps` steps; disks, if they were found now. Nothing is found twice.
    pub(super) fn advance(&mut self, steps: u32) -> Option<Vec<Disk>> {
        if self.steps_left == 0 {
            return None;
        }
        if self.steps_left == STEPS_MAX
            && let Some(disks) = disk_about_zero(&self.rule)
        {
            self.steps_left = 0;
            return Some(disks);
        }
        for _ in 0..steps.min(self.steps_left) {
            self.steps_left -= 1;
            self.z = step(self.z, self.rule.c);
            self.age += 1;
            if (self.z - self.mark).norm_sqr() < self.closure_squared {
                if let Some(disks) = self.close() {
                    self.steps_left = 0;
                    return Some(disks);
                }
                self.closure_squared /= 256.0;
                if self.closure_squared < CLOSURE_SQUARED_MIN {
                    self.steps_left = 0;
                    return None;
                }
            }
            if self.age == self.next_age {
                (self.mark, self.age, self.next_age) = (self.z, 0, self.next_age.saturating_mul(2));
            }
        }
        if !(self.z.norm_sqr() <= 4.0) {
            self.steps_left = 0;
        }
        None
    }

    /// The orbit is back near the mark: tries the points since then as a cycle.
    fn close(&self) -> Option<Vec<Disk>> {
        let period = self.age as usize;
        let cycle = std::iter::successors(Some(self.z), |&z| Some(step(z, self.rule.c))).take(period);
        let multiplier: f64 = cycle.clone().map(|z| 2.0 * modulus(z)).product();
        if period > PERIOD_MAX || multiplier >= 1.0 {
            return None;
        }
        disks_round(&cycle.collect::<Vec<_>>(), self.rule.c)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hunt(re: f64, im: f64, limit: u32) -> Option<Vec<Disk>> {
        let mut hunt = Hunt::new(Rule { c: Complex::new(re, im), limit, bailout: 2.0 }, true);
        (0..1000).find_map(|_| hunt.advance(128))
    }

    #[test]
    fn the_rabbit_has_three_disks_and_the_largest_is_large() {
        let disks = hunt(-0.123, 0.745, 1000).expect("an attracting cycle of period 3");
        assert_eq!(disks.len(), 3);
        assert!(disks.iter().any(|disk| disk.radius > 0.3), "{disks:?}");
    }

    #[test]
    fn a_set_without_interior_has_no_disks() {
        for (re, im) in [(0.0, 1.0), (-0.8, 0.156), (-0.75, 0.01), (-2.0, 0.0), (0.5, 0.5)] {
            assert_eq!(hunt(re, im, 1000), None, "{re} {im}");
        }
    }

    #[test]
    fn the_disk_about_zero_needs_a_margin_or_a_limit() {
        assert!(hunt(0.0, 0.0, u32::MAX).expect("a disk")[0].radius > 0.98);
        assert!(hunt(0.0, -0.2499, u32::MAX).expect("a disk")[0].radius > 0.5);
        assert_eq!(hunt(0.25, 0.0, CREEP_MAX).map(|disks| disks[0].radius), Some(0.5));
        assert_eq!(hunt(0.25, 0.0, CREEP_MAX + 1), None);
    }

    #[test]
    fn a_certificate_is_refused_where_an_image_sticks_out() {
        let c = Complex::new(-1.0, 0.0);
        let disks = hunt(c.re, c.im, 1000).expect("an attracting cycle of period 2");
        assert!(is_certified(&disks, c));
        for i in 0..disks.len() {
            let mut wider = disks.clone();
            wider[i].radius *= 1.1;
            assert!(!is_certified(&wider, c), "{wider:?}");
        }
    }

    /// Orbits that start on the rims, the worst places, and would leave if a radius were too large.
    #[test]
    fn orbits_from_the_rims_stay_in_the_disks() {
        for (re, im) in
            [(-0.123, 0.745), (0.25, 0.0), (0.2, 0.1), (-1.0, 0.2), (-1.31, 0.0), (-0.5, 0.55), (0.28, 0.53), (-0.74, 0.0)]
        {
            let c = Complex::new(re, im);
            let Some(disks) = hunt(re, im, 1000) else { panic!("{c} has an attracting cycle") };
            for turn in 0..1000 {
                let (sin, cos) = (f64::from(turn) * std::f64::consts::TAU / 1000.0).sin_cos();
                for i in 0..disks.len() {
                    let mut z = disks[i].center + Complex::new(cos, sin) * disks[i].threshold().sqrt();
                    for disk in disks.iter().cycle().skip(i + 1).take(300) {
                        z = step(z, c);
                        assert!((z - disk.center).norm() <= disk.radius + 1e-12, "{c}, disk {i}, turn {turn}");
                    }
                }
            }
        }
    }
}
