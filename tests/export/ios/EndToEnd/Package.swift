// swift-tools-version: 5.9
import PackageDescription

let package = Package(
    name: "EndToEnd",
    dependencies: [.package(path: "../BertText")],
    targets: [
        .executableTarget(name: "EndToEnd", dependencies: [.product(name: "BertText", package: "BertText")])
    ]
)
