//! Starts a Kafka for trying things by hand, prints where it listens, and ends it with the end of standard input:
//! `kafka_here [NODES]`.

#[expect(clippy::print_stdout, reason = "it says where it listens")]
fn main() {
    if let Some(missing) = vertice_testkit::kafka::missing() {
        println!("{missing}");
        return;
    }
    let nodes = std::env::args().nth(1).and_then(|nodes| nodes.parse().ok()).unwrap_or(1);
    let cluster = vertice_testkit::kafka::Cluster::start(nodes);
    println!("{}", cluster.brokers());
    // An error ends it as well.
    let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
}
