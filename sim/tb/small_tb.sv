// The small system with its flash and the far end of its UART. cocotb drives the clock.
`ifdef NETLIST  // what Yosys made of it: one module
`define LOWER_HALVES dut.\ram.half_0 .mem
`define UPPER_HALVES dut.\ram.half_1 .mem
`define ARRAY_BUSY 1'b0
`else
`define LOWER_HALVES dut.ram.half_0.mem
`define UPPER_HALVES dut.ram.half_1.mem
`define ARRAY_BUSY dut.mac.busy
`endif
module small_tb #(
    parameter BIT_CYCLES = 12  // clock cycles of a bit on the serial line
) (
    input  logic clk,
    output logic finished,         // the firmware has sent its last byte, EOT
    output logic stopped,          // it has sent CAN: it cannot go on
    output logic [63:0] mac_cycles // in which the array had an instruction
);
    wire csb, sck, io0, io1, io2, io3, tx;
    small_system dut (
        .clk, .button(1'b1), .rx(1'b1), .tx,
        .flash_csb(csb), .flash_clk(sck), .flash_io0(io0), .flash_io1(io1), .flash_io2(io2),
        .flash_io3(io3));
    flash flash (.csb, .clk(sck), .io0, .io1, .io2, .io3);

    import "DPI-C" function void small_open(input string path, input string uart_path);
    import "DPI-C" function void small_close(input string path);
    import "DPI-C" function void ram_write(input int unsigned word, input int unsigned data);
    import "DPI-C" function void uart_write(input int unsigned data);

    string contents, uart, ram;
    initial begin
        if (!$value$plusargs("flash=%s", contents)) $fatal(1, "+flash=FILE is missing");
        if (!$value$plusargs("uart=%s", uart)) $fatal(1, "+uart=FILE is missing");
        if (!$value$plusargs("ram=%s", ram)) $fatal(1, "+ram=FILE is missing");
        small_open(contents, uart);
    end
    final begin
        for (int word = 0; word < 16384; word++)
            ram_write(word, {`UPPER_HALVES[word], `LOWER_HALVES[word]});
        small_close(ram);
    end

    initial mac_cycles = 0;
    always_ff @(posedge clk) mac_cycles <= mac_cycles + 64'(`ARRAY_BUSY);

    // A byte is sampled in the middle of its bits, and must end with a stop bit.
    localparam logic [7:0] EOT = 8'h04, CAN = 8'h18;
    int wait_cycles = 0, received = 0;
    logic [7:0] data;
    initial {finished, stopped} = 0;
    always_ff @(posedge clk)
        if (wait_cycles != 0) wait_cycles <= wait_cycles - 1;
        else if (received == 0) begin
            if (!tx) begin
                wait_cycles <= BIT_CYCLES + BIT_CYCLES / 2 - 2;
                received <= 1;
            end
        end else if (received <= 8) begin
            data <= {tx, data[7:1]};
            wait_cycles <= BIT_CYCLES - 1;
            received <= received + 1;
        end else begin
            if (!tx) $fatal(1, "UART: no stop bit");
            received <= 0;
            uart_write(32'(data));
            if (data == EOT) finished <= 1;
            if (data == CAN) stopped <= 1;
        end
endmodule
