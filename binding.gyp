{
  "targets": [
    {
      "target_name": "taploom",
      "sources": [
        "native/addon.cc",
        "native/device.cc",
        "native/netns.cc",
        "native/link.cc",
        "native/io.cc",
        "native/receive.cc",
        "native/transmit.cc",
        "native/bytes.cc",
        "native/checksum.cc",
        "native/segment.cc",
        "native/coalesce.cc",
        "native/sockets.cc",
        "native/udp.cc",
        "native/udp-socket.cc",
        "native/udp-receive.cc",
        "native/udp-transmit.cc",
        "native/udp-send.cc",
        "native/underlay.cc",
        "native/echo.cc"
      ],
      "include_dirs": ["<!(node -p \"require('node-addon-api').include_dir\")", "native"],
      "defines": ["NAPI_VERSION=8", "NODE_ADDON_API_DISABLE_DEPRECATED", "NAPI_CPP_EXCEPTIONS", "NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS"],
      "cflags!": ["-fno-exceptions"],
      "cflags_cc!": ["-fno-exceptions", "-fno-rtti"],
      "cflags_cc": ["-std=c++17", "-O3", "-Wall", "-Wextra", "-Wno-unused-parameter", "-fvisibility=hidden", "-fno-strict-aliasing"],
    }
  ]
}
