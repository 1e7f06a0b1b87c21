// SPI flash, as far as it is read: one bit at a time, mode 0. A command that it does not know, or one
// before it was woken up, ends the simulation.
// Ref: Winbond, W25Q128JV, revision F, sections 8.2: instructions 03h, ABh, FFh.
module flash (
    input  wire csb, clk, io0, io2, io3,
    output wire io1
);
    import "DPI-C" function byte unsigned flash_read(input int unsigned address);

    logic awake = 0, answer = 0;
    logic [7:0]  command;
    logic [23:0] address;
    logic [7:0]  data;
    int bits;  // since csb fell

    always_ff @(negedge csb) bits <= 0;

    always_ff @(posedge clk) if (!csb) begin
        bits <= bits + 1;
        if (bits < 8) command <= {command[6:0], io0};
        else if (bits < 32) address <= {address[22:0], io0};
        if (bits == 7) case ({command[6:0], io0})
            8'hFF: ;  // ends a mode that this one does not have
            8'hAB: awake <= 1;
            8'h03: if (!awake) $fatal(1, "flash: read before it was woken up");
            default: $fatal(1, "flash: unknown command %h", {command[6:0], io0});
        endcase
        if (!io2 || !io3) $fatal(1, "flash: WP or HOLD is low");
    end

    // Data come at the falling edge; after each byte the next one's.
    always_ff @(negedge clk) if (!csb && bits >= 32 && command == 8'h03) begin
        if (bits % 8 == 0) begin
            data <= flash_read(32'(address));
            address <= address + 1;
            answer <= 1'(flash_read(32'(address)) >> 7);
        end else answer <= data[7 - bits % 8];
    end
    assign io1 = answer;
endmodule
