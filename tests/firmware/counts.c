/* A QEMU plugin that counts instructions by address: `-plugin counts.so,out=FILE,mark=ADDRESS`.
 *
 * Whenever the instruction at ADDRESS is about to run, and at the end, FILE gets a line "mark" and
 * a line "address count" for each instruction that ran since the last time. QEMU's header is not
 * part of every package; what is used of its interface (version 1) is declared here.
 */
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct qemu_plugin_tb;
struct qemu_plugin_insn;
typedef uint64_t plugin_id;
typedef void (*tb_made)(plugin_id id, struct qemu_plugin_tb *tb);
typedef void (*tb_runs)(unsigned int cpu, void *data);
typedef void (*at_end)(plugin_id id, void *data);

void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id id, tb_made made);
void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *tb, tb_runs runs, int flags,
                                          void *data);
void qemu_plugin_register_atexit_cb(plugin_id id, at_end end, void *data);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *tb, size_t index);
uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *insn);
int qemu_plugin_install(plugin_id id, const void *info, int argc, char **argv);

int qemu_plugin_version = 1;

/* A translated block: instructions that run one after the other, and how often they did. */
typedef struct block {
    struct block *next;
    uint64_t runs;
    size_t count;
    uint64_t address[];
} block;

static block *blocks;
static uint64_t mark;
static FILE *out;

static void write_counts(void)
{
    block *b;
    fprintf(out, "mark\n");
    for (b = blocks; b; b = b->next) {
        for (size_t i = 0; b->runs != 0 && i < b->count; i++) {
            fprintf(out, "%" PRIx64 " %" PRIu64 "\n", b->address[i], b->runs);
        }
        b->runs = 0;
    }
}

static void runs(unsigned int cpu, void *data)
{
    block *b = (block *)data;
    (void)cpu;
    if (b->address[0] == mark) {
        write_counts();
    }
    b->runs++;
}

static void made(plugin_id id, struct qemu_plugin_tb *tb)
{
    const size_t count = qemu_plugin_tb_n_insns(tb);
    block *b = (block *)calloc(1, sizeof *b + count * sizeof b->address[0]);
    (void)id;
    if (!b) {
        abort();
    }
    for (size_t i = 0; i < count; i++) {
        b->address[i] = qemu_plugin_insn_vaddr(qemu_plugin_tb_get_insn(tb, i));
    }
    b->count = count;
    b->next = blocks;
    blocks = b;
    qemu_plugin_register_vcpu_tb_exec_cb(tb, runs, 0, b);
}

static void end(plugin_id id, void *data)
{
    (void)id;
    (void)data;
    write_counts();
    fclose(out);
}

int qemu_plugin_install(plugin_id id, const void *info, int argc, char **argv)
{
    (void)info;
    for (int i = 0; i < argc; i++) {
        if (strncmp(argv[i], "out=", 4) == 0) {
            out = fopen(argv[i] + 4, "w");
        } else if (strncmp(argv[i], "mark=", 5) == 0) {
            mark = strtoull(argv[i] + 5, NULL, 0);
        }
    }
    if (!out) {
        return -1;
    }
    qemu_plugin_register_vcpu_tb_trans_cb(id, made);
    qemu_plugin_register_atexit_cb(id, end, NULL);
    return 0;
}
