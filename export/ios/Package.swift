// swift-tools-version: 5.9
import PackageDescription

let package = Package(
    name: "BertText",
    platforms: [.iOS(.v15), .macOS(.v12)],
    products: [
        .library(name: "BertText", targets: ["BertText"])
    ],
    dependencies: [
        // LiteRT names its releases by branches; they fetch prebuilt frameworks.
        .package(url: "https://github.com/google-ai-edge/LiteRT", branch: "release/2.3.0")
    ],
    targets: [
        .target(
            name: "BertText",
            dependencies: [.product(name: "LiteRT", package: "LiteRT")]
        ),
        .testTarget(
            name: "BertTextTests",
            dependencies: ["BertText"],
            resources: [.copy("vectors.json")]
        ),
    ]
)
