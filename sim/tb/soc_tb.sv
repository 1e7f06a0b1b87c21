// The system of `python -m hw soc` with its SDRAM and the far end of its UART. cocotb drives the
// oscillator and the reset.
module soc_tb #(
    parameter SDRAM_RATE = 2,     // clocks of the SDRAM per clock of the system: 1 or 2
    parameter PERIOD_PS = 10_000  // of the SDRAM's clock, for its timings
) (
    input  logic osc,       // twice the system's clock
    input  logic rst,
    output logic [7:0] finished,  // how often the firmware has sent its last byte, EOT
    output logic stopped,         // it has sent CAN: it cannot go on
    // The core's bus: beats, and cycles in which it waited for some or moved them.
    output logic [63:0] read_beats, write_beats, bus_cycles
);
    // Both clocks rise at once: what a register of one sends to the other is sampled before it
    // changes, as on a board.
    logic clk = 0, clk2x = 0;
    always_ff @(posedge osc, negedge osc) begin
        clk2x <= osc;
        if (osc) clk <= ~clk;
    end

    logic reset = 1'b1;
    always_ff @(posedge clk) reset <= rst;

    logic        cke, cs_n, ras_n, cas_n, we_n, uart_valid;
    logic [1:0]  ba, dm;
    logic [12:0] a;
    logic        serial_valid = 0, serial_ready, serial_over = 0;
    logic [7:0]  uart_data, serial_data;
    wire  [15:0] dq;

    soc soc (
        .clk, .clk2x, .rst(reset),
        .serial_source_valid(uart_valid), .serial_source_ready(1'b1),
        .serial_source_data(uart_data),
        .serial_sink_valid(serial_valid), .serial_sink_ready(serial_ready),
        .serial_sink_data(serial_data),
        .sdram_a(a), .sdram_ba(ba), .sdram_dq(dq), .sdram_dm(dm), .sdram_we_n(we_n),
        .sdram_ras_n(ras_n), .sdram_cas_n(cas_n), .sdram_cs_n(cs_n), .sdram_cke(cke));

    // The pins' delays, which LiteDRAM's PHYs count on: a cycle of the fast clock, less than one of
    // the slow clock, here a half.
    sdram #(.PERIOD_NS(PERIOD_PS / 1000.0)) sdram (
        .clk(SDRAM_RATE == 2 ? clk2x : !clk), .cke, .cs_n, .ras_n, .cas_n, .we_n, .ba, .a, .dm, .dq);

    import "DPI-C" function void sdram_open(input string path, input string uart_path,
                                            input string serial_path);
    import "DPI-C" function void sdram_close();
    import "DPI-C" function void uart_write(input int unsigned data);
    import "DPI-C" function int uart_read();  // negative: no more

    string memory, uart, serial;
    initial begin
        if (!$value$plusargs("memory=%s", memory)) $fatal(1, "+memory=FILE is missing");
        if (!$value$plusargs("uart=%s", uart)) $fatal(1, "+uart=FILE is missing");
        if (!$value$plusargs("serial=%s", serial)) $fatal(1, "+serial=FILE is missing");
        sdram_open(memory, uart, serial);
    end
    final sdram_close();

    logic [7:0] reads, writes;  // bursts under way
    wire ar = soc.macrame.m_axi_arvalid && soc.macrame.m_axi_arready;
    wire r = soc.macrame.m_axi_rvalid && soc.macrame.m_axi_rready;
    wire aw = soc.macrame.m_axi_awvalid && soc.macrame.m_axi_awready;
    wire w = soc.macrame.m_axi_wvalid && soc.macrame.m_axi_wready;
    wire b = soc.macrame.m_axi_bvalid && soc.macrame.m_axi_bready;
    initial {reads, writes, read_beats, write_beats, bus_cycles} = 0;
    always_ff @(posedge clk) begin
        reads <= reads + 8'(ar) - 8'(r && soc.macrame.m_axi_rlast);
        writes <= writes + 8'(aw) - 8'(b);
        read_beats <= read_beats + 64'(r);
        write_beats <= write_beats + 64'(w);
        bus_cycles <= bus_cycles + 64'(reads != 0 || writes != 0 || soc.macrame.m_axi_arvalid
                                       || soc.macrame.m_axi_awvalid);
    end

    int received;
    always_ff @(posedge clk)
        if (!reset && !serial_over && (!serial_valid || serial_ready)) begin
            received = uart_read();
            serial_valid <= received >= 0;
            serial_over <= received < 0;
            serial_data <= 8'(received);
        end

    localparam logic [7:0] EOT = 8'h04, CAN = 8'h18;
    initial {finished, stopped} = 0;
    always_ff @(posedge clk)
        if (uart_valid && !reset) begin
            uart_write(32'(uart_data));
            if (uart_data == EOT) finished <= finished + 1;
            if (uart_data == CAN) stopped <= 1;
        end
endmodule
