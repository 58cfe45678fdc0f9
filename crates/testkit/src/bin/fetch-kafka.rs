//! Fetches what tests with Kafka need, so that no test's time contains the download.

fn main() {
    match vertice_testkit::kafka::missing() {
        Some(missing) => eprintln!("tests with Kafka: {missing}"),
        None => drop(vertice_testkit::kafka::jars()),
    }
}
