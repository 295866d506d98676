/* A program that takes part in an upgrade and misbehaves. Its file name selects the misbehaviour, so that one program
 * serves for all; it implements the hand-off protocol of src/handoff/frame.rs without sharing code with it. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

/* Kinds of messages: supervisor and engine, then engine and engine. */
enum { HELLO = 1, LISTENER = 2, PREPARED = 3, GO = 4, READY = 5, ABORT = 6, START = 16, PEER = 18, BEAT = 25 };
enum { GREETING = 1, STATE_END = 5, IMPORTED = 6, BATCH = 17, ACCEPT = 18, COMMIT = 19 };

static const char *how;
static int control, peer = -1;
static uint32_t sent_messages[1024]; /* messages sent so far, by descriptor */
static unsigned char body[300000];
static size_t filled;

static int is(const char *name) { return strcmp(how, name) == 0; }

static void field(uint16_t tag, const void *value, uint32_t length) {
  memcpy(body + filled, &tag, 2);
  memcpy(body + filled + 2, &length, 4);
  memcpy(body + filled + 6, value, length);
  filled += 6 + length;
}

static void number(uint16_t tag, uint64_t value) { field(tag, &value, 8); }

static int raw(int fd, const void *bytes, size_t length, int descriptors) {
  static char space[CMSG_SPACE(sizeof(int) * 253)];
  struct iovec part = {(void *)bytes, length};
  struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
  if (descriptors) {
    message.msg_control = space;
    message.msg_controllen = CMSG_SPACE(sizeof(int) * descriptors);
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET, header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int) * descriptors);
    for (int i = 0; i < descriptors; i++) memcpy(CMSG_DATA(header) + i * sizeof(int), &(int){0}, sizeof(int));
  }
  return sendmsg(fd, &message, MSG_NOSIGNAL);
}

/* Sends the fields collected so far; `lie` names the violation of the protocol. */
static int send_message(int fd, uint16_t kind, int critical, const char *lie) {
  static unsigned char frame[sizeof body + 24];
  int wrong(const char *name) { return strcmp(lie, name) == 0; }
  uint16_t halves[6] = {1, 0, kind, critical, 0, 0};
  uint32_t words[2] = {sent_messages[fd]++, filled};
  int descriptors = 0;
  memcpy(frame, "lbHO", 4);
  if (wrong("wrong-magic")) memcpy(frame, "HTTP", 4);
  if (wrong("wrong-major")) halves[0] = 2;
  if (wrong("wrong-length")) words[1] += 7;
  if (wrong("fewer-descriptors")) halves[4] = 2;
  if (wrong("one-descriptor")) halves[4] = descriptors = 1;
  if (wrong("extra-descriptors")) descriptors = 3;
  if (wrong("announced-descriptors")) halves[4] = descriptors = 3;
  if (wrong("many-descriptors")) halves[4] = descriptors = 253;
  if (wrong("wrong-sequence")) words[0] += 1;
  if (wrong("unknown-critical")) halves[2] = 999, halves[3] = 1;
  if (wrong("cut-field")) words[1] = filled -= 3;
  if (wrong("too-long")) words[1] = filled = 150000;
  memcpy(frame + 4, halves, 12);
  memcpy(frame + 16, words, 8);
  memcpy(frame + 24, body, filled);
  size_t length = 24 + filled;
  filled = 0;
  if (wrong("short-message")) length = 5;
  if (wrong("empty-message")) length = 0;
  return raw(fd, frame, length, descriptors);
}

static void hello(const char *lie) {
  number(1, 2), number(2, getpid()), field(3, "fake", 4);
  send_message(control, HELLO, 1, lie);
}

static void beat(uint64_t failed) {
  number(1, 0), number(2, failed), number(3, 0), number(4, failed);
  send_message(control, BEAT, 0, "");
}

/* The kind of the next message, 0 for the end; keeps the connection to the other engine. */
static int hear(int fd) {
  static unsigned char frame[70000];
  static char space[CMSG_SPACE(sizeof(int) * 253)];
  struct iovec part = {frame, sizeof frame};
  struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = space, .msg_controllen = sizeof space};
  if (recvmsg(fd, &message, 0) < 24) return 0;
  int kind = frame[8] | frame[9] << 8;
  struct cmsghdr *header = CMSG_FIRSTHDR(&message);
  if (fd == control && kind == PEER && header) memcpy(&peer, CMSG_DATA(header), sizeof peer);
  return kind;
}

static void hear_until(int fd, int wanted) {
  for (int kind; (kind = hear(fd)) != wanted;)
    if (!kind) exit(8);
}

static void forever(void) {
  for (;;) pause();
}

static void give_up(void) {
  field(1, "had enough", 10);
  send_message(control, ABORT, 1, "");
  forever();
}

/* Messages without meaning, as fast as possible. */
static void flood(int fd, uint16_t kind, int seconds) {
  time_t end = time(NULL) + seconds;
  while (time(NULL) < end) send_message(fd, kind, 0, "");
}

static long now_ms(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * 1000 + time.tv_nsec / 1000000;
}

/* Takes a batch after almost 8 s, during which it sends signs of life, and ends with the fourth, at about 31 s. */
static void take_slowly(int batch) {
  long due = now_ms() + 7700;
  for (; now_ms() < due - 400; usleep(100000)) beat(0);
  usleep((due - now_ms()) * 1000);
  number(1, batch);
  send_message(peer, ACCEPT, 1, "");
  hear_until(peer, COMMIT);
  if (batch == 4) exit(7);
}

static int probe(void) {
  if (is("probe-core-2")) return puts("lb-handoff core=2 state=1 version=9.0"), 0;
  if (is("probe-rubbish-core")) return puts("lb-handoff core=\x01\xff\x1b[31m999999999999 state=-1"), 0;
  if (is("probe-rubbish")) {
    for (int i = 0; i < 100000; i++) putchar(i * 7919 >> 3);
    return 0;
  }
  if (is("probe-endless"))
    while (puts("and on") >= 0) {}
  if (is("probe-hangs")) forever();
  if (is("probe-segfaults")) signal(SIGSEGV, SIG_DFL), raise(SIGSEGV);
  if (is("probe-leaves-a-child") && fork() == 0) sleep(30), exit(0);
  puts("lb-handoff core=1 state=1 version=fake");
  return 0;
}

int main(int argc, char **argv) {
  how = strrchr(argv[0], '/');
  how = how ? how + 1 : argv[0];
  if (argc > 2 && !strcmp(argv[2], "--probe")) return probe();
  /* Ends however the test ends. */
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  control = atoi(getenv("LB_CONTROL_FD"));
  fcntl(control, F_SETFL, fcntl(control, F_GETFL) & ~O_NONBLOCK);

  /* The real program, with too low a limit. */
  char real[4096];
  snprintf(real, sizeof real, "%.*s/lb", (int)(how - argv[0] - 1), argv[0]);
  if (is("without-descriptors")) setrlimit(RLIMIT_NOFILE, &(struct rlimit){12, 12}), execv(real, argv);
  if (is("without-memory")) setrlimit(RLIMIT_AS, &(struct rlimit){12 << 20, 12 << 20}), execv(real, argv);
  if (is("without-threads")) setrlimit(RLIMIT_NPROC, &(struct rlimit){0, 0}), execv(real, argv);

  if (is("silent")) forever();
  if (is("closes")) close(control), forever();
  if (is("one-a-second"))
    for (;; sleep(1)) beat(0);
  if (is("flood-unknown")) flood(control, 999, 60);
  if (is("flood-known"))
    for (;;) beat(0);
  if (!strncmp(how, "hello-", 6)) hello(how + 6), forever();

  hello("");
  if (is("dies-with-hello")) return 7;
  if (is("dies-after-hello")) hear_until(control, PEER), exit(7);
  if (is("hangs-after-hello")) forever();
  if (is("ready-before-its-turn")) number(1, 1000), send_message(control, READY, 1, ""), beat(0), usleep(300000), give_up();
  if (is("listener-that-is-none")) {
    number(1, 1), field(2, "web", 3), field(3, "x", 1), number(4, 0), field(5, "x", 1), number(6, 1);
    send_message(control, LISTENER, 1, "one-descriptor");
    usleep(300000), give_up();
  }
  hear_until(control, START);
  if (peer < 0) return 9;
  fcntl(peer, F_SETFL, fcntl(peer, F_GETFL) & ~O_NONBLOCK);
  if (is("dies-before-prepared")) return 7;
  if (is("gives-up")) give_up();
  if (is("peer-silent")) sleep(1), give_up();
  if (is("peer-closes")) close(peer), give_up();
  if (is("peer-flood")) flood(peer, 999, 3), give_up();
  if (is("peer-out-of-turn")) send_message(peer, IMPORTED, 1, ""), usleep(300000), give_up();
  if (!strncmp(how, "peer-", 5)) number(9, 1), send_message(peer, GREETING, 1, how + 5), usleep(300000), give_up();

  /* A good greeting: sessions, version 1. */
  unsigned char offer[42];
  for (uint64_t tag = 1, value = 1; tag <= 3; tag++) {
    memcpy(offer + 14 * (tag - 1), &(uint16_t){tag}, 2);
    memcpy(offer + 14 * (tag - 1) + 2, &(uint32_t){8}, 4);
    memcpy(offer + 14 * (tag - 1) + 6, &value, 8);
  }
  field(1, offer, sizeof offer);
  send_message(peer, GREETING, 1, "");
  hear_until(peer, STATE_END);
  if (is("never-imports")) sleep(1), give_up();
  send_message(peer, IMPORTED, 1, "");
  number(1, 0);
  send_message(control, PREPARED, 1, "");
  hear_until(control, GO);
  if (is("exits-after-go")) return 7;
  number(1, 1000);
  send_message(control, READY, 1, "");
  if (is("dies-when-ready")) raise(SIGKILL);
  for (;;) {
    struct pollfd ways[2] = {{control, POLLIN, 0}, {peer, POLLIN, 0}};
    poll(ways, 2, 100);
    if (ways[0].revents && !hear(control)) return 0;
    if (ways[1].revents) {
      int kind = hear(peer);
      if (kind == 0) return 0;
      if (kind != BATCH) continue;
      static int batches;
      if (is("slow")) {
        take_slowly(++batches);
        continue;
      }
      number(1, is("move-wrong-number") ? 4711 : 1);
      if (is("move-out-of-turn")) send_message(peer, IMPORTED, 1, "");
      else if (is("move-closes")) {
        // The whole batch is read first, so that the other engine waits for the answer by then.
        while (poll(&ways[1], 1, 100) > 0 && hear(peer)) {}
        close(peer);
      }
      else if (is("move-flood")) flood(peer, 999, 3);
      else if (!is("move-silent")) send_message(peer, ACCEPT, 1, how + 5);
      forever();
    }
    beat(is("fails-its-connections") ? 100 : 0);
  }
}
