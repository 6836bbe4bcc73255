//! Raw counts equal those of a program in another language that shares no code with ours.

use std::f64::consts::SQRT_2;

use fractally_testkit::{Broker, Reference, Worker, read_npy};

use crate::lab;

struct View {
    c: [f64; 2],
    center: [f64; 2],
    width: f64,
    size: [u32; 2],
    iterations: u32,
    bailout: f64,
}

fn view(c: [f64; 2]) -> View {
    View { c, center: [0.0, 0.0], width: 4.0, size: [97, 61], iterations: 300, bailout: 2.0 }
}

fn views() -> Vec<View> {
    // Inside the Mandelbrot set, outside it, on its boundary, with |c| near 2 and above it.
    let constants = [
        [-0.123, 0.745],
        [0.1, -0.1],
        [-0.8, 0.156],
        [0.4, 0.4],
        [0.0, 1.0],
        [0.25, 0.0],
        [-0.75, 0.01],
        [-2.0, 0.0],
        [SQRT_2, SQRT_2],
        [-1.999_999_999, 1e-9],
        [1.7, -1.2],
        [-3.5, 2.0],
    ];
    let mut views: Vec<_> = constants.into_iter().map(view).collect();
    for size in [[1, 1], [7, 3], [1, 5000], [5000, 1], [33, 257]] {
        views.push(View { size, ..view([-0.8, 0.156]) });
        views.push(View { size, center: [0.3, -0.2], width: 1.7, ..view([-0.123, 0.745]) });
    }
    let deep = [-0.905_531_271_527_432_5, 0.403_245_115_051_124_4];
    views.push(View { center: deep, width: 1e-6, iterations: 10_000, ..view([-0.8, 0.156]) });
    views.push(View { center: deep, width: 1e-12, iterations: 3000, size: [40, 40], ..view([-0.8, 0.156]) });
    views.push(View { center: [1e6, -3.0], width: 100.0, ..view([-0.8, 0.156]) });
    for iterations in [1, 2, 3, 31, 32, 33, 64, 65, 1000] {
        views.push(View { iterations, ..view([-0.4, 0.6]) });
    }
    for bailout in [2.5, 10.0, 1e4, 1e9] {
        views.push(View { bailout, ..view([-0.7, -0.3]) });
        views.push(View { bailout, ..view([-2.2, 0.5]) });
    }
    views
}

#[test]
fn counts_equal_those_of_a_c_program() {
    let lab = lab();
    let reference = Reference::compile();
    let broker = Broker::start(&lab);
    let _worker = Worker::start(&lab, &broker, "w", 2);
    for View { c, center, width, size, iterations, bailout } in views() {
        let complex = |z: [f64; 2]| format!("{:?}{:+?}i", z[0], z[1]);
        let (w, h) = (size[0], size[1]);
        let args = [
            ("-c", complex(c)),
            ("--center", complex(center)),
            ("--width", format!("{width:?}")),
            ("--size", format!("{w}x{h}")),
            ("--iter", iterations.to_string()),
            ("--bailout", format!("{bailout:?}")),
            ("--broker", broker.clients.clone()),
            ("--output", "counts.npy".to_owned()),
        ];
        let args: Vec<_> = args.into_iter().flat_map(|(flag, value)| [flag.to_owned(), value]).collect();
        let report = lab.render(&args);
        let (height, columns, ours) = read_npy(&lab.path("counts.npy"));
        assert_eq!((columns, height), (w, h));
        let theirs = reference.counts(c, center, width, size, iterations, bailout);
        let differing = ours.iter().zip(&theirs).filter(|(a, b)| a != b).count();
        assert!(differing == 0 && ours.len() == theirs.len(), "{differing} pixels differ: {args:?}");
        let sum: u64 = theirs.iter().map(|&count| u64::from(count)).sum();
        assert_eq!(report["iterations"], sum, "{args:?}");
    }
}
