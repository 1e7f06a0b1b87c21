// The core with its memory (memory.cpp). cocotb drives the clock, reset and control bus, and says
// which run of the core is next.
module tb #(parameter BUS_BYTES = 4) (
    input  logic        clk, rst,
    input  logic [7:0]  run,
    input  logic [11:0] s_axil_awaddr,
    input  logic        s_axil_awvalid,
    output logic        s_axil_awready,
    input  logic [31:0] s_axil_wdata,
    input  logic        s_axil_wvalid,
    output logic        s_axil_wready,
    output logic        s_axil_bvalid,
    input  logic        s_axil_bready,
    input  logic [11:0] s_axil_araddr,
    input  logic        s_axil_arvalid,
    output logic        s_axil_arready,
    output logic [31:0] s_axil_rdata,
    output logic        s_axil_rvalid,
    input  logic        s_axil_rready,
    output logic        irq
);
    logic                   arvalid, arready, rvalid, rready, rlast;
    logic [31:0]            araddr;
    logic [7:0]             arlen, awlen;
    logic [2:0]             arsize, awsize;
    logic [1:0]             arburst, awburst, rresp, bresp;
    logic [8*BUS_BYTES-1:0] rdata, wdata;
    logic                   awvalid, awready, wvalid, wready, wlast, bvalid, bready;
    logic [31:0]            awaddr;
    logic [BUS_BYTES-1:0]   wstrb;

    // A register: Verilator evaluates what depends on inputs twice a cycle, and on reset does all.
    logic reset = 1'b1;
    always_ff @(posedge clk) reset <= rst;

    macrame core (
        .clk, .rst(reset), .irq,
        .s_axil_awaddr, .s_axil_awprot(3'b0), .s_axil_awvalid, .s_axil_awready,
        .s_axil_wdata, .s_axil_wstrb(4'hf), .s_axil_wvalid, .s_axil_wready,
        .s_axil_bresp(), .s_axil_bvalid, .s_axil_bready,
        .s_axil_araddr, .s_axil_arprot(3'b0), .s_axil_arvalid, .s_axil_arready,
        .s_axil_rdata, .s_axil_rresp(), .s_axil_rvalid, .s_axil_rready,
        .m_axi_arid(), .m_axi_araddr(araddr), .m_axi_arlen(arlen), .m_axi_arsize(arsize),
        .m_axi_arburst(arburst), .m_axi_arvalid(arvalid), .m_axi_arready(arready),
        .m_axi_rid(1'b0), .m_axi_rdata(rdata), .m_axi_rresp(rresp), .m_axi_rlast(rlast),
        .m_axi_rvalid(rvalid), .m_axi_rready(rready),
        .m_axi_awid(), .m_axi_awaddr(awaddr), .m_axi_awlen(awlen), .m_axi_awsize(awsize),
        .m_axi_awburst(awburst), .m_axi_awvalid(awvalid), .m_axi_awready(awready),
        .m_axi_wdata(wdata), .m_axi_wstrb(wstrb), .m_axi_wlast(wlast), .m_axi_wvalid(wvalid),
        .m_axi_wready(wready),
        .m_axi_bid(1'b0), .m_axi_bresp(bresp), .m_axi_bvalid(bvalid), .m_axi_bready(bready));

    import "DPI-C" function void axi_memory_open(input string path);
    import "DPI-C" function void axi_memory_close();
    import "DPI-C" function void axi_memory_edge(
        input bit reset, input int unsigned run,
        input bit arvalid, input int unsigned araddr, input int unsigned arlen,
        input int unsigned arsize, input int unsigned arburst, input bit rready,
        input bit awvalid, input int unsigned awaddr, input int unsigned awlen,
        input int unsigned awsize, input int unsigned awburst,
        input bit wvalid, input bit [127:0] wdata, input bit [15:0] wstrb, input bit wlast,
        input bit bready,
        output bit arready, output bit rvalid, output bit [127:0] rdata,
        output int unsigned rresp, output bit rlast, output bit awready, output bit wready,
        output bit bvalid, output int unsigned bresp);

    string settings;
    initial begin
        if (!$value$plusargs("memory=%s", settings)) $fatal(1, "+memory=FILE is missing");
        axi_memory_open(settings);
    end
    final axi_memory_close();

    bit         next_arready, next_rvalid, next_rlast, next_awready, next_wready, next_bvalid;
    bit [127:0] next_rdata;
    int unsigned next_rresp, next_bresp;
    always_ff @(posedge clk) begin
        axi_memory_edge(
            reset, 32'(run), arvalid, araddr, 32'(arlen), 32'(arsize), 32'(arburst), rready,
            awvalid, awaddr, 32'(awlen), 32'(awsize), 32'(awburst),
            wvalid, 128'(wdata), 16'(wstrb), wlast, bready,
            next_arready, next_rvalid, next_rdata, next_rresp, next_rlast,
            next_awready, next_wready, next_bvalid, next_bresp);
        arready <= next_arready;
        rvalid <= next_rvalid;
        rdata <= next_rdata[8*BUS_BYTES-1:0];
        rresp <= next_rresp[1:0];
        rlast <= next_rlast;
        awready <= next_awready;
        wready <= next_wready;
        bvalid <= next_bvalid;
        bresp <= next_bresp[1:0];
    end
endmodule
