// swift-tools-version: 5.9
import PackageDescription

let package = Package(
    name: "EndToEnd",
    platforms: [.macOS(.v12)],
    dependencies: [.package(path: "../BertText")],
    targets: [
        .target(name: "SwiftUI"),
        .target(
            name: "Sample",
            dependencies: ["SwiftUI", .product(name: "BertText", package: "BertText")],
            path: "Sample"
        ),
        .executableTarget(
            name: "EndToEnd",
            dependencies: ["Sample", .product(name: "BertText", package: "BertText")]
        ),
    ]
)
