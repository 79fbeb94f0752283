// UDP load for the network benchmark. Every command prints one line of JSON.
//
//   load sink  IP PORT [IDLE_MS [PORTS]]        count datagrams until none came for IDLE_MS (250), on PORT and
//                                               the PORTS - 1 after it
//   load blast IP PORT SECONDS [PPS [PAYLOAD]]  send for so long; PPS 0 (default) = as fast as it goes
//   load echo  IP PORT                          send back what comes, until killed
//   load pong  IP PORT COUNT [PAYLOAD]          COUNT round trips, one after the other
//   load flows IP PORT SECONDS PORTS            datagrams of which each is of another flow: source port by source
//                                               port, PORT by PORT
//   load macs  DEVICE COUNT                     one broadcast frame from each of COUNT addresses
//
// PAYLOAD is 18 bytes by default: with 42 bytes of headers the smallest Ethernet frame (60 without FCS).
// Each datagram begins with its number, so that a late answer is not taken for the next one.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
  BURST = 64,  // datagrams per system call
  LONGEST = 9000,
  SOCKET_BUFFER = 8 << 20,
  FIRST_MS = 5000,  // how long a sink waits for its first datagram
  WARM_UP = 200,    // round trips that are not measured
  ANSWER_MS = 200,  // after that an answer counts as lost
  MAX_LOST = 50,
  MAX_SINKS = 64,
  FIRST_SOURCE = 1024,  // source ports of flows: from here to the last
  SOURCES = 65536 - FIRST_SOURCE,
};

typedef struct {
  char bytes[BURST][LONGEST];
  struct iovec iov[BURST];
  struct mmsghdr msg[BURST];
} Burst;

static Burst burst;

static void burst_of(size_t len) {
  memset(burst.msg, 0, sizeof burst.msg);
  for (int i = 0; i < BURST; i++) {
    burst.iov[i] = (struct iovec){burst.bytes[i], len};
    burst.msg[i].msg_hdr.msg_iov = &burst.iov[i];
    burst.msg[i].msg_hdr.msg_iovlen = 1;
  }
}

static double now(void) {  // seconds
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void fail(const char *what) {
  fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
  exit(1);
}

static int udp(const char *ip, const char *port, bool server) {
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port))};
  if (inet_pton(AF_INET, ip, &to.sin_addr) != 1) errno = EINVAL, fail(ip);
  const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), size = SOCKET_BUFFER;
  if (fd < 0) fail("socket");
  setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size);
  setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size);
  if ((server ? bind : connect)(fd, (struct sockaddr *)&to, sizeof to) < 0) fail(server ? "bind" : "connect");
  return fd;
}

static int sink(struct pollfd *readable, int ports, int idleMs) {
  burst_of(LONGEST);
  uint64_t received = 0;
  double first = 0, last = 0;
  for (;;) {
    bool any = false;
    for (int i = 0; i < ports; i++) {
      const int n = recvmmsg(readable[i].fd, burst.msg, BURST, MSG_DONTWAIT, NULL);
      if (n > 0) {
        any = true;
        last = now();
        if (received == 0) first = last;
        received += (uint64_t)n;
      } else if (errno != EAGAIN && errno != EINTR)
        fail("recvmmsg");
    }
    if (!any && poll(readable, (nfds_t)ports, received ? idleMs : FIRST_MS) == 0) break;
  }
  const double seconds = last - first;
  printf("{\"received\":%llu,\"seconds\":%.4f,\"pps\":%.0f}\n", (unsigned long long)received, seconds,
         seconds > 0 ? (double)received / seconds : 0);
  return 0;
}

// The kernel fills in the IP header's source, checksum and length; UDP goes without a checksum.
static int flows(const char *ip, int port, double seconds, int ports) {
  struct sockaddr_in to = {.sin_family = AF_INET};
  if (inet_pton(AF_INET, ip, &to.sin_addr) != 1) errno = EINVAL, fail(ip);
  const int fd = socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_UDP), size = SOCKET_BUFFER;
  if (fd < 0) fail("raw socket");
  setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size);
  setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &(int){0}, sizeof(int));  // nobody reads what comes back
  if (connect(fd, (struct sockaddr *)&to, sizeof to) < 0) fail(ip);
  const uint16_t length = 8 + 18;
  burst_of(length);
  uint64_t sent = 0;
  const double start = now(), end = start + seconds;
  while (now() < end) {
    for (uint64_t i = 0; i < BURST; i++) {
      const uint64_t number = sent + i;
      const uint16_t header[4] = {htons((uint16_t)(FIRST_SOURCE + number % SOURCES)),
                                  htons((uint16_t)(port + (int)(number / SOURCES % (uint64_t)ports))),
                                  htons(length), 0};
      memcpy(burst.bytes[i], header, sizeof header);
    }
    const int n = sendmmsg(fd, burst.msg, BURST, 0);
    if (n > 0)
      sent += (uint64_t)n;
    else if (errno != ENOBUFS && errno != EAGAIN && errno != ECONNREFUSED)
      fail("sendmmsg");
  }
  printf("{\"sent\":%llu,\"seconds\":%.4f}\n", (unsigned long long)sent, now() - start);
  return 0;
}

static int blast(int fd, double seconds, double pps, size_t payload) {
  burst_of(payload);
  prctl(PR_SET_TIMERSLACK, 1000);
  uint64_t sent = 0;
  const double start = now(), end = start + seconds;
  double t;
  while ((t = now()) < end) {
    uint64_t want = BURST;
    if (pps > 0) {
      const uint64_t due = (uint64_t)((t - start) * pps);
      if (due <= sent) {
        nanosleep(&(struct timespec){0, 150000}, NULL);
        continue;
      }
      if (due - sent < want) want = due - sent;
    }
    for (uint64_t i = 0; i < want; i++) {
      const uint64_t number = sent + i;
      memcpy(burst.bytes[i], &number, sizeof number);
    }
    const int n = sendmmsg(fd, burst.msg, (unsigned)want, 0);
    if (n > 0)
      sent += (uint64_t)n;
    else if (errno != ENOBUFS && errno != EAGAIN && errno != ECONNREFUSED)
      fail("sendmmsg");
  }
  printf("{\"sent\":%llu,\"seconds\":%.4f,\"pps\":%.0f}\n", (unsigned long long)sent, now() - start,
         (double)sent / (now() - start));
  return 0;
}

static int echo(int fd) {
  static char bytes[LONGEST];
  for (;;) {
    struct sockaddr_in from;
    socklen_t len = sizeof from;
    const ssize_t n = recvfrom(fd, bytes, sizeof bytes, 0, (struct sockaddr *)&from, &len);
    if (n < 0 && errno != EINTR && errno != ECONNREFUSED) fail("recvfrom");
    if (n >= 0) sendto(fd, bytes, (size_t)n, 0, (struct sockaddr *)&from, len);
  }
  return 0;
}

static int ascending(const void *a, const void *b) {
  const double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static int pong(int fd, int count, size_t payload) {
  double *us = calloc((size_t)count, sizeof *us);
  char out[LONGEST] = {0}, in[LONGEST];
  const struct timeval limit = {0, ANSWER_MS * 1000};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  int measured = 0, lost = 0;
  for (uint64_t number = 0; measured < count && lost < MAX_LOST; number++) {
    memcpy(out, &number, sizeof number);
    const double start = now();
    if (send(fd, out, payload, 0) < 0 && errno != ECONNREFUSED) fail("send");
    uint64_t answer = UINT64_MAX;
    ssize_t n;
    while ((n = recv(fd, in, sizeof in, 0)) >= 0) {
      if (n >= (ssize_t)sizeof answer) memcpy(&answer, in, sizeof answer);
      if (answer == number) break;
    }
    if (n < 0)
      lost++;
    else if (number >= WARM_UP)
      us[measured++] = (now() - start) * 1e6;
  }
  qsort(us, (size_t)measured, sizeof *us, ascending);
  if (measured == 0)
    printf("{\"measured\":0,\"lost\":%d}\n", lost);
  else
    printf("{\"measured\":%d,\"lost\":%d,\"p50Us\":%.1f,\"p99Us\":%.1f,\"maxUs\":%.1f}\n", measured, lost,
           us[measured / 2], us[measured * 99L / 100], us[measured - 1]);
  free(us);
  return measured == 0;
}

// Fills a switch's forwarding database: addresses 06:00 + number, type 0x88b5 (for experiments).
static int macs(const char *device, uint32_t count) {
  burst_of(60);
  const int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
  if (fd < 0) fail("packet socket");
  const struct sockaddr_ll at = {.sll_family = AF_PACKET, .sll_ifindex = (int)if_nametoindex(device)};
  if (bind(fd, (const struct sockaddr *)&at, sizeof at) < 0) fail(device);
  for (int i = 0; i < BURST; i++) {
    memset(burst.bytes[i], 0, 60);
    memset(burst.bytes[i], 0xff, 6);
    burst.bytes[i][6] = 0x06;
    burst.bytes[i][12] = (char)0x88;
    burst.bytes[i][13] = (char)0xb5;
  }
  prctl(PR_SET_TIMERSLACK, 1000);
  for (uint32_t sent = 0; sent < count;) {
    unsigned want = count - sent < BURST ? count - sent : BURST;
    for (unsigned i = 0; i < want; i++) {
      const uint32_t number = htonl(sent + i);
      memcpy(burst.bytes[i] + 8, &number, sizeof number);
    }
    const int n = sendmmsg(fd, burst.msg, want, 0);
    if (n > 0)
      sent += (uint32_t)n;
    else if (errno != ENOBUFS && errno != EAGAIN)
      fail("sendmmsg");
    nanosleep(&(struct timespec){0, 500000}, NULL);  // about 100,000 a second: none should be lost
  }
  printf("{\"sent\":%u}\n", count);
  return 0;
}

int main(int argc, char **argv) {
  const char *what = argc > 1 ? argv[1] : "";
  const char *fifth = argc > 5 ? argv[5] : "0", *sixth = argc > 6 ? argv[6] : "18";
  if (!strcmp(what, "sink") && argc >= 4) {
    static struct pollfd readable[MAX_SINKS];
    const int ports = argc > 5 ? atoi(argv[5]) : 1;
    if (ports < 1 || ports > MAX_SINKS) return fprintf(stderr, "load: 1 to %d ports\n", MAX_SINKS), 2;
    for (int i = 0; i < ports; i++) {
      char port[8];
      snprintf(port, sizeof port, "%d", (atoi(argv[3]) + i) & 0xffff);
      readable[i] = (struct pollfd){.fd = udp(argv[2], port, true), .events = POLLIN};
    }
    return sink(readable, ports, argc > 4 ? atoi(argv[4]) : 250);
  }
  if (!strcmp(what, "flows") && argc >= 6 && atoi(argv[5]) > 0)
    return flows(argv[2], atoi(argv[3]), atof(argv[4]), atoi(argv[5]));
  if (!strcmp(what, "echo") && argc >= 4) return echo(udp(argv[2], argv[3], true));
  if (!strcmp(what, "blast") && argc >= 5) {
    const int payload = atoi(sixth);
    if (payload >= 8 && payload <= LONGEST)
      return blast(udp(argv[2], argv[3], false), atof(argv[4]), atof(fifth), (size_t)payload);
  }
  if (!strcmp(what, "pong") && argc >= 5) {
    const int payload = argc > 5 ? atoi(fifth) : 18;
    if (payload >= 8 && payload <= LONGEST && atoi(argv[4]) > 0)
      return pong(udp(argv[2], argv[3], false), atoi(argv[4]), (size_t)payload);
  }
  if (!strcmp(what, "macs") && argc >= 4) return macs(argv[2], (uint32_t)atoi(argv[3]));
  fprintf(stderr, "usage: load sink|blast|flows|echo|pong|macs ... (see the head of bench/load.c)\n");
  return 2;
}
